"""What ``twistd palingenesis`` is made of."""
