"""Errors as ``application/problem+json`` (RFC 9457)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType

from palingenesis.text import MESSAGE_LIMIT, printable

MEDIA_TYPE = b"application/problem+json"

_NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class Problem(Exception):
    """
    A request that is not carried out.

    :param status: the status code.
    :param detail: why, in one line for the person who asked.
    :param headers: further headers of the response.
    """

    def __init__(
        self, status: HTTPStatus, detail: str, headers: Mapping[str, str] = _NO_HEADERS
    ) -> None:
        super().__init__(status, detail)
        self.status = status
        self.detail = printable(detail, MESSAGE_LIMIT)
        self.headers = headers

    def body(self) -> bytes:
        """Return the body of the response."""
        # The type is the status code itself, RFC 9457 section 4.2.1.
        problem = {
            "type": "about:blank",
            "title": self.status.phrase,
            "status": self.status.value,
            "detail": self.detail,
        }
        return json.dumps(problem).encode() + b"\n"

    def response(self) -> bytes:
        """Return a whole response, after which the connection closes."""
        body = self.body()
        headers = {
            "Content-Type": MEDIA_TYPE.decode(),
            "Content-Length": str(len(body)),
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            "Connection": "close",
            **self.headers,
        }
        lines = [f"HTTP/1.1 {self.status.value} {self.status.phrase}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return "\r\n".join([*lines, "", ""]).encode() + body


def too_many(headers: Mapping[str, str] = _NO_HEADERS) -> Problem:
    """
    Return the problem of a client that is one too many.

    A new one each time: an exception that is raised again and again keeps every request.
    """
    headers = {"Retry-After": "1", **headers}
    return Problem(HTTPStatus.SERVICE_UNAVAILABLE, "Too many connections", headers)
