"""Clients of the control socket: one that blocks, and one with Deferreds."""
