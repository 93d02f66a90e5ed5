"""Requests that a client sends to an HTTP proxy (RFC 9110, section 7.6, and RFC 9112, section 3.2.2)."""

import base64
import binascii
import contextlib
from urllib.parse import urlsplit

MAX_HEAD_BYTES = 64 * 1024


class RefusedError(Exception):
    """The process gets an answer with this status, and no connection."""

    def __init__(self, status: str, *headers: str) -> None:
        super().__init__(status)
        self.answer = "\r\n".join((f"HTTP/1.1 {status}", *headers, "Content-Length: 0", "Connection: close", "", ""))


class Requests:
    """Rewrites the heads of plain HTTP requests, and leaves their bodies as they are.

    The login for the valve is removed. A server gets only the path. A proxy gets the absolute URL and its own login.
    """

    def __init__(self, absolute: bool, login: str | None) -> None:
        self._absolute = absolute
        self._login = login
        self._server: bytes | None = None
        self._head = b""
        self._left: int | None = 0
        """How many bytes of the body are still to come. None: all further bytes of the connection are its body."""

    def rewrite(self, data: bytes) -> bytes:
        """Return what to send for this data.

        Raises ValueError for an invalid head, and for a head that names another server than the one before.
        """
        out = b""
        while data:
            if self._left is None:
                return out + data
            if self._left:
                body, data = data[: self._left], data[self._left :]
                self._left -= len(body)
                out += body
                continue
            head, separator, data = (self._head + data).partition(b"\r\n\r\n")
            if not separator:
                if len(head) > MAX_HEAD_BYTES:
                    raise ValueError("the head is too long")
                self._head = head
                return out
            self._head = b""
            out += self._rewritten(head)
        return out

    def _rewritten(self, head: bytes) -> bytes:
        line, *fields = head.split(b"\r\n")
        method, url, version = line.split(b" ")
        parts = urlsplit(url.decode("ascii"))
        server = parts.netloc.encode("ascii")
        if self._server not in (None, server):
            raise ValueError("the connection leads to another server")
        self._server = server
        if not self._absolute:
            path = url[len(parts.scheme) + len("://") + len(server) :]
            url = path if path.startswith(b"/") else b"/" + path
        self._left = 0
        kept = []
        for field in fields:
            name, _, value = field.partition(b":")
            match name.strip().lower():
                case b"proxy-authorization" | b"proxy-connection":
                    continue
                case b"content-length":
                    self._left = int(value)
                case b"transfer-encoding":
                    # Where such a body ends is not looked for, so no request may follow it.
                    self._left = None
            kept.append(field)
        if self._left is None:
            kept.append(b"Connection: close")
        if self._login is not None:
            kept.append(b"Proxy-Authorization: " + self._login.encode("ascii"))
        return b"\r\n".join([b" ".join((method, url, version)), *kept, b"", b""])


def target_of(head: bytes) -> tuple[str, str, int]:
    """Return method, host and port of a request to a proxy. Raises RefusedError."""
    try:
        method, target, _ = head.split(b"\r\n", 1)[0].decode("ascii").split(" ")
        parts = urlsplit(f"https://{target}" if method == "CONNECT" else target)
        host, port = parts.hostname, parts.port or {"https": 443, "http": 80}[parts.scheme]
    except (ValueError, KeyError):
        raise RefusedError("400 Bad Request") from None
    if not host or (method != "CONNECT" and parts.scheme != "http"):
        raise RefusedError("400 Bad Request")
    return method, host, port


def token_of(head: bytes) -> str:
    """Return the user name in ``Proxy-Authorization``, or an empty string if there is none."""
    for field in head.split(b"\r\n")[1:]:
        name, _, value = field.partition(b":")
        if name.strip().lower() == b"proxy-authorization":
            with contextlib.suppress(ValueError, IndexError, binascii.Error):
                return base64.b64decode(value.split()[-1]).decode("ascii").partition(":")[0]
    return ""
