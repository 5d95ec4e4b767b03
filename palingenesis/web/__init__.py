"""The control socket's commands, its events and its metrics, over HTTP; the picture of a night."""
