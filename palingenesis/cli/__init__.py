"""The ``palingenesis`` command, on the standard library alone."""
