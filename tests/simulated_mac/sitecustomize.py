"""What Python imports as it starts, if this directory is on ``PYTHONPATH``."""

import simulated_macos as simulated_macos
