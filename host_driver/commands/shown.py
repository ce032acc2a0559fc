"""What may stand on a terminal."""


def printable(text: str) -> str:
    """Return `text` without what steers a terminal: a drive names itself as it likes."""
    return "".join(each if each.isprintable() else "?" for each in text)
