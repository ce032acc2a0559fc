"""USB/IP from both ends, over real sockets."""
