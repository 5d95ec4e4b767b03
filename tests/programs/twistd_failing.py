"""Fail as a twistd does whose packages are broken: before any code of ours runs."""

raise ImportError("zope is broken")
