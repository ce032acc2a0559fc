"""What every codec of outside bytes shares: the one way to refuse them."""


class DecodeError(ValueError):
    """The bytes are not an instance of the layout; the message says where they depart from it."""
