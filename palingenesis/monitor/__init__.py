"""The monitor: sees when a coding agent's session has stopped, and brings it back."""
