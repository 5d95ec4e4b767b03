"""Makes ``twistd palingenesis``."""

from twisted.application.service import ServiceMaker

palingenesis = ServiceMaker(
    "palingenesis",
    "palingenesis.daemon.tap",
    "Brings sessions of AI coding agents back, with a control socket.",
    "palingenesis",
)
