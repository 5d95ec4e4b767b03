"""The static files of the page, read once when they are first needed."""

from __future__ import annotations

from importlib.resources import files

_KINDS = {
    "html": b"text/html; charset=utf-8",
    "js": b"text/javascript; charset=utf-8",
    "css": b"text/css; charset=utf-8",
}
_NAMES = (
    *("index.html", "page.css", "page.js", "connection.js", "dom.js", "log.js", "night.js"),
    *("sessions.js", "times.js", "words.js"),
)


#: Each file by its path below the resource: its media type and its content.
PAGE = {
    (b"" if name == "index.html" else name.encode(),): (
        _KINDS[name.rpartition(".")[2]],
        files(__package__).joinpath(name).read_bytes(),
    )
    for name in _NAMES
}
