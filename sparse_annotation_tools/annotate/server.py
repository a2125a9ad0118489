"""The page's HTTP server: on 127.0.0.1 only, and only for who knows the token in the page's address.

- Every request carries the token as the first part of its path, and a Host that names this computer, so that no other
  web page can reach it, not even by a DNS name that points here.
- Only POST changes anything, and not for another origin.
- Files come from a fixed table; scans are looked up by name in the session. No path is made from a request.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import socket
import sys
import traceback
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np

import sparse_annotation_tools.report
from sparse_annotation_tools.annotate.lease import Lease
from sparse_annotation_tools.annotate.open_scan import RefusedError
from sparse_annotation_tools.annotate.session import Session
from sparse_annotation_tools.errors import UserError

ADDRESS = "127.0.0.1"
_NAMES = (ADDRESS, "localhost")  # the second for ports forwarded by ssh
_MOST_JSON = 4096  # bytes
_MOST_SLICE = 1 << 26  # bytes: no slice of a scan has more pixels
_PING_S = 1.0

_PAGE = Path(__file__).parent / "page"
_VIEWER = Path(sparse_annotation_tools.report.__file__).parent / "vendor" / "niivue" / "niivue.umd.js"
_JS = "text/javascript; charset=utf-8"
_FILES = {
    "": (_PAGE / "index.html", "text/html; charset=utf-8"),
    "style.css": (_PAGE / "style.css", "text/css; charset=utf-8"),
    "niivue.umd.js": (_VIEWER, _JS),
    **{path.name: (path, _JS) for path in sorted(_PAGE.glob("*.js"))},
}

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self' data:; font-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}

Query = dict[str, str]


class HttpError(Exception):
    """A request that is refused, with its status."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


class PageServer(ThreadingHTTPServer):
    """Serves one session."""

    daemon_threads = True

    def __init__(self, session: Session, port: int = 0) -> None:
        """Listen; a port of 0 is any free one.

        Raises:
            UserError: the port is taken.
        """
        try:
            super().__init__((ADDRESS, port), _Handler)
        except (OSError, OverflowError) as error:
            raise UserError(f"--port {port} cannot be used ({error}); give another one, or leave it out") from None
        self.session = session
        self.token = secrets.token_urlsafe(24)
        self.lease = Lease()

    @property
    def url(self) -> str:
        """The page's address, with its token."""
        return f"http://{ADDRESS}:{self.server_port}/{self.token}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of browsers that hang up."""
        if not isinstance(sys.exc_info()[1], ConnectionError | TimeoutError):
            traceback.print_exc()


class _Handler(BaseHTTPRequestHandler):
    server: PageServer
    protocol_version = "HTTP/1.1"
    server_version = "rada-annotate"
    sys_version = ""
    timeout = 60  # for a connection on which nothing comes

    def do_GET(self) -> None:
        """Answer a request that changes nothing."""
        self._answer(self._get)

    def do_POST(self) -> None:
        """Answer a request that changes something."""
        self._answer(self._post)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Keep requests, and with them the token, out of the terminal."""

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Refuse what http.server does not understand, with the same headers as every answer."""
        self.close_connection = True
        self._send(HTTPStatus(code), "application/json", json.dumps({"error": message or HTTPStatus(code).phrase}))

    def _answer(self, respond: Callable[[str, Query], None]) -> None:
        try:
            path, query = self._checked()
            respond(path, query)
        except HttpError as error:
            self.send_error(error.status, str(error))
        except (RefusedError, UserError) as error:
            self.send_error(HTTPStatus.CONFLICT, str(error))
        except (ConnectionError, TimeoutError):
            self.close_connection = True
        except OSError as error:
            self.send_error(HTTPStatus.INSUFFICIENT_STORAGE, f"{error.strerror}: {error.filename}")
        except Exception:
            traceback.print_exc()
            self.send_error(HTTPStatus.INTERNAL_SERVER_ERROR, "rada-annotate has a bug; its terminal says more")

    def _checked(self) -> tuple[str, Query]:
        """Return the path after the token, and the query; refuse requests that are not the page's own."""
        host = self.headers.get("Host", "")
        if host.rpartition(":")[0] not in _NAMES or not host.rpartition(":")[2].isdecimal():
            raise HttpError(HTTPStatus.MISDIRECTED_REQUEST, f"this server is {ADDRESS}")
        origin = self.headers.get("Origin")
        if origin is not None and origin != f"http://{host}":
            raise HttpError(HTTPStatus.FORBIDDEN, "another origin")
        if self.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
            raise HttpError(HTTPStatus.FORBIDDEN, "another site")
        url = urlsplit(self.path)
        token, slash, path = url.path.removeprefix("/").partition("/")
        if not secrets.compare_digest(token.encode(), self.server.token.encode()) or not slash:
            raise HttpError(HTTPStatus.FORBIDDEN, "open the address that rada-annotate printed")
        return path, {name: values[-1] for name, values in parse_qs(url.query, max_num_fields=10).items()}

    def _get(self, path: str, query: Query) -> None:
        session = self.server.session
        if path in _FILES:
            file, kind = _FILES[path]
            self._send(HTTPStatus.OK, kind, file.read_bytes())
        elif path == "api/overview":
            self._send_json(session.overview())
        elif path == "api/image":
            self._send_binary(session.image(_text(query, "case")))
        elif path == "api/painted":
            self._send_binary(session.painted(_text(query, "case")))
        elif path == "api/layer":
            view = query.get("view")
            index = _number(query, "index") if view is not None else 0
            self._send_binary(session.preview_layer(_text(query, "case"), view, index))
        elif path == "api/events":
            self._send_events(_text(query, "page"))
        else:
            raise HttpError(HTTPStatus.NOT_FOUND, "there is no such page")

    def _post(self, path: str, query: Query) -> None:
        session = self.server.session
        if path == "api/save":
            case, view = _text(query, "case"), _text(query, "view")
            height, width = session.pixels_of(case, view)
            body = self._body("application/octet-stream", _MOST_SLICE)
            if len(body) != height * width:
                raise HttpError(HTTPStatus.BAD_REQUEST, f"a {view} slice has {height * width} pixels, not {len(body)}")
            drawn = np.frombuffer(body, np.uint8).reshape(height, width)
            place = (_text(query, "page"), case, view, _number(query, "index"), _number(query, "number"))
            self._send_json({"kept": session.save(*place, drawn)})
            return
        if path not in ("api/take", "api/open", "api/act"):
            raise HttpError(HTTPStatus.NOT_FOUND, "there is no such page")
        content = self._json()
        page = _text(content, "page")
        if path == "api/take":
            if not self.server.lease.take(page):
                raise RefusedError("These scans are open in another tab. Close it, then reload this one.")
            session.take_page(page)
            self._send_json(session.overview())
        elif path == "api/open":
            self._send_json(session.open(page, _text(content, "case")))
        else:
            what = (_text(content, "case"), _text(content, "action"), _text(content, "view"))
            answer = session.act(page, *what, _number(content, "index"), _number(content, "number"))
            self._send_json({"scan": answer, "overview": session.overview()})

    def _body(self, kind: str, most: int) -> bytes:
        length = self.headers.get("Content-Length", "")
        if "Transfer-Encoding" in self.headers or not length.isdecimal():
            raise HttpError(HTTPStatus.LENGTH_REQUIRED, "the length of what is sent must be given")
        if int(length) > most:
            raise HttpError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"more than {most} bytes")
        if self.headers.get("Content-Type") != kind:
            raise HttpError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"expected {kind}")
        body = self.rfile.read(int(length))
        if len(body) != int(length):
            raise ConnectionError("the browser hung up")
        return body

    def _json(self) -> dict[str, Any]:
        try:
            content = json.loads(self._body("application/json", _MOST_JSON))
        except ValueError:
            content = None
        if not isinstance(content, dict):
            raise HttpError(HTTPStatus.BAD_REQUEST, "expected a JSON object")
        return content

    def _send_events(self, page: str) -> None:
        """Tell a page how far the preview is, as long as it is open; this connection holds its lease."""
        if not self.server.lease.hold(page, self.connection):
            raise RefusedError("This page is not the one that paints; reload it.")
        self.close_connection = True
        try:
            self._send_head(HTTPStatus.OK, "text/event-stream", None)
            told: dict[str, Any] | None = None
            while True:
                state = self.server.session.preview_state()
                self.wfile.write(f"data: {json.dumps(state)}\n\n".encode() if state != told else b": here\n\n")
                told = state
                with self.server.session.changed:
                    self.server.session.changed.wait(_PING_S)
        finally:
            self.server.lease.let_go(self.connection)

    def _send_json(self, content: dict[str, Any]) -> None:
        self._send(HTTPStatus.OK, "application/json", json.dumps(content))

    def _send_binary(self, data: bytes) -> None:
        self._send(HTTPStatus.OK, "application/octet-stream", data)

    def _send(self, status: HTTPStatus, kind: str, body: str | bytes) -> None:
        data = body.encode() if isinstance(body, str) else body
        with contextlib.suppress(ConnectionError):
            self._send_head(status, kind, len(data))
            self.wfile.write(data)

    def _send_head(self, status: HTTPStatus, kind: str, length: int | None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        if length is not None:
            self.send_header("Content-Length", str(length))
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()

    def setup(self) -> None:
        """Send small answers at once."""
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)


def _text(content: dict[str, Any], name: str) -> str:
    value = content.get(name)
    if not isinstance(value, str) or not value:
        raise HttpError(HTTPStatus.BAD_REQUEST, f"{name} is missing")
    return value


def _number(content: dict[str, Any], name: str) -> int:
    value = content.get(name)
    if isinstance(value, str) and value.isdecimal() and len(value) < 16:
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    raise HttpError(HTTPStatus.BAD_REQUEST, f"{name} is missing or no number")
