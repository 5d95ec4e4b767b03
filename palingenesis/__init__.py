"""
A control socket for daemons: STATUS, PAUSE, RESUME and RELOAD, on Twisted.

Importing the package costs nothing; its parts are imported by their own names
(``palingenesis.server.service``, ``palingenesis.client.blocking``, ...).
"""

__version__ = "1.0.0"
