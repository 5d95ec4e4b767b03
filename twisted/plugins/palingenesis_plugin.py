"""Makes ``twistd palingenesis``."""

from twisted.application.service import ServiceMaker

palingenesis = ServiceMaker(
    "palingenesis",
    "palingenesis.daemon.tap",
    "A control socket: STATUS, PAUSE, RESUME and RELOAD for a daemon.",
    "palingenesis",
)
