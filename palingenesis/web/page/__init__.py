"""The static files of the page, read once when they are first needed."""

from __future__ import annotations

from importlib.resources import files

_FILES = (
    ((b"",), "index.html", b"text/html; charset=utf-8"),
    ((b"page.js",), "page.js", b"text/javascript; charset=utf-8"),
    ((b"page.css",), "page.css", b"text/css; charset=utf-8"),
)

#: Each file by its path below the resource: its media type and its content.
PAGE = {path: (kind, files(__package__).joinpath(name).read_bytes()) for path, name, kind in _FILES}
