"""The control socket's server, on Twisted."""
