"""Only the page itself reaches the server, and nothing but the page, the scans and their paint is served."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sparse_annotation_tools.annotate.server import PageServer
from sparse_annotation_tools.annotate.session import Session

from .conftest import PAGE, SHAPE, write_scan

Ask = Callable[..., "Answer"]
JSON = {"Content-Type": "application/json"}
OCTETS = {"Content-Type": "application/octet-stream"}


class Answer:
    """What came back."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status, self.headers, self.body = response.status, response.headers, response.read()

    @property
    def error(self) -> str:
        """The reason of a refusal."""
        return str(json.loads(self.body)["error"])


@pytest.fixture
def server(start: Callable[..., Session]) -> Iterator[PageServer]:
    """A running server; the page of the tests paints scan a."""
    session = start()
    session.open(PAGE, "a")
    with PageServer(session) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def ask(server: PageServer) -> Ask:
    """Send a request with the token before its path, unless `token` is another."""

    def send(
        method: str,
        path: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        token: str | None = None,
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
        connection.putrequest(method, f"/{server.token if token is None else token}/{path}", skip_host=True)
        sent = {"Host": f"127.0.0.1:{server.server_port}", **(headers or {})}
        if body is not None:
            sent.setdefault("Content-Length", str(len(body)))
        for name, value in sent.items():
            connection.putheader(name, value)
        connection.endheaders(body)
        answer = Answer(connection.getresponse())
        connection.close()
        return answer

    return send


def as_json(**content: Any) -> bytes:
    """The body of a request of the page."""
    return json.dumps({"page": PAGE, **content}).encode()


def test_it_listens_on_this_computer_only(server: PageServer) -> None:
    """The socket is bound to the loopback address."""
    assert server.socket.getsockname()[0] == "127.0.0.1"
    assert server.url.startswith(f"http://127.0.0.1:{server.server_port}/{server.token}/")
    assert len(server.token) >= 32


@pytest.mark.parametrize("path", ["", "style.css", "app.js", "viewer.js", "niivue.umd.js", "api/overview"])
def test_the_page_and_all_its_parts_are_served(ask: Ask, path: str) -> None:
    """With the token, and with headers that forbid other sources, framing and guessing of types."""
    answer = ask("GET", path)
    assert answer.status == 200
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'; script-src 'self';")
    assert "unsafe" not in answer.headers["Content-Security-Policy"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.parametrize("token", ["", "wrong", "%C3%BC", "../", "%2e%2e"])
@pytest.mark.parametrize("path", ["", "api/overview", "api/painted?case=a"])
def test_no_token_no_answer(ask: Ask, token: str, path: str) -> None:
    """Every address needs the token, the page's own too."""
    answer = ask("GET", path, token=token)
    assert answer.status == 403
    assert b"atrium" not in answer.body


def test_a_part_of_the_token_is_not_enough(server: PageServer, ask: Ask) -> None:
    """Neither a prefix nor an extension is taken."""
    assert ask("GET", "", token=server.token[:-1]).status == 403
    assert ask("GET", "", token=server.token + "x").status == 403


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example:80", "127.0.0.1", "", "[::1]:80"]
)
def test_other_hosts_are_refused(ask: Ask, host: str) -> None:
    """A name that somebody points at this computer does not open the page, even with the token."""
    assert ask("GET", "api/overview", headers={"Host": host}).status == 421


def test_ports_forwarded_by_ssh_work(ask: Ask) -> None:
    """The browser then calls this computer localhost, perhaps at another port."""
    headers = {"Host": "localhost:9000", "Origin": "http://localhost:9000"}
    assert ask("POST", "api/open", as_json(case="a"), {**JSON, **headers}).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site"},
    ],
)
def test_other_origins_are_refused(ask: Ask, headers: dict[str, str]) -> None:
    """Scripts and forms of other pages change nothing and read nothing."""
    assert ask("POST", "api/open", as_json(case="a"), {**JSON, **headers}).status == 403
    assert ask("GET", "api/overview", headers=headers).status == 403


@pytest.mark.parametrize("path", ["api/open", "api/act", "api/save?case=a", "api/take"])
def test_only_post_changes_something(ask: Ask, path: str) -> None:
    """GET of what changes something is no page."""
    assert ask("GET", path).status == 404


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "HEAD"])
def test_other_methods_are_refused(ask: Ask, method: str) -> None:
    """There is GET and POST."""
    assert ask(method, "api/overview").status == 501


@pytest.mark.parametrize(
    "path",
    [
        "../server.py",
        "..%2fserver.py",
        "%2e%2e/server.py",
        "/etc/passwd",
        "page/index.html",
        "index.html/../../server.py",
        "api/painted?case=../images/a_0000",
        "api/image?case=..%2f..%2fa",
        "api/painted?case=/etc/passwd",
        "api/layer?case=a%00",
    ],
)
def test_no_path_leads_to_other_files(ask: Ask, path: str) -> None:
    """Files come from a table, and scans are known by name."""
    answer = ask("GET", path)
    assert answer.status in (404, 409)
    assert b"root:" not in answer.body


def test_no_scan_but_those_of_the_folder_is_opened(ask: Ask) -> None:
    """A name that is a path opens nothing."""
    answer = ask("POST", "api/open", as_json(case="../images/a"), JSON)
    assert (answer.status, answer.error) == (409, "there is no scan ../images/a")


def test_huge_bodies_are_not_read(ask: Ask) -> None:
    """More than any request needs is refused by its announced length."""
    assert ask("POST", "api/open", b"", {**JSON, "Content-Length": str(1 << 40)}).status == 413
    query = f"api/save?page={PAGE}&case=a&view=axial&index=0&number=1"
    assert ask("POST", query, b"", {**OCTETS, "Content-Length": str(1 << 40)}).status == 413


@pytest.mark.parametrize(
    "headers", [{"Content-Length": "x"}, {"Content-Length": "-1"}, {"Transfer-Encoding": "chunked"}]
)
def test_bodies_of_unknown_length_are_refused(ask: Ask, headers: dict[str, str]) -> None:
    """The length is needed before anything is read."""
    assert ask("POST", "api/open", b"{}", {**JSON, **headers}).status == 411


def test_bodies_of_another_kind_or_size_are_refused(ask: Ask) -> None:
    """Forms, broken JSON, missing fields, and slices of another size."""
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert ask("POST", "api/open", as_json(case="a"), form).status == 415
    assert ask("POST", "api/open", b"{", JSON).status == 400
    assert ask("POST", "api/open", b"[]", JSON).status == 400
    assert ask("POST", "api/open", as_json(), JSON).status == 400
    query = f"api/save?page={PAGE}&case=a&view=axial&index=0&number=1"
    assert ask("POST", query, bytes(3), OCTETS).status == 400
    assert ask("POST", query.replace("number=1", "number=x"), bytes(SHAPE[1] * SHAPE[2]), OCTETS).status == 400


def test_a_slice_is_saved(server: PageServer, ask: Ask) -> None:
    """What the page sends is on disk when the answer comes."""
    opened = json.loads(ask("POST", "api/open", as_json(case="a"), JSON).body)
    index = next(each["index"] for each in opened["slices"] if each["view"] == "axial")
    pixels = bytearray(SHAPE[1] * SHAPE[2])
    pixels[9] = 1
    query = f"api/save?page={PAGE}&case=a&view=axial&index={index}&number=1"
    answer = ask("POST", query, bytes(pixels), OCTETS)
    assert (answer.status, json.loads(answer.body)) == (200, {"kept": True})
    assert sum(server.session.painted("a")) == 1
    assert (server.session.folder.root / "annotate" / "paint" / "a.json").is_file()
    assert sum(ask("GET", "api/painted?case=a").body) == 1


def test_names_reach_the_page_as_data(start: Callable[..., Session], tmp_path: Path) -> None:
    """Names of classes may look like HTML; they come as JSON, never as a part of the page."""
    write_scan(tmp_path / "one" / "a_0000.nii.gz")
    name = "<img src=x onerror=alert(1)>"
    session = start(images=tmp_path / "one", output=tmp_path / "one_out", label_names=(name,))
    assert session.overview()["classes"][0]["name"] == name
    page = Path(__file__).parents[3] / "sparse_annotation_tools" / "annotate" / "page"
    scripts = "".join(path.read_text() for path in page.glob("*.js"))
    risky = ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(")
    assert [word for word in risky if word in scripts] == []


def test_one_tab_paints_at_a_time(server: PageServer, ask: Ask) -> None:
    """A second tab is refused while the first is open, and let in as soon as that is closed."""

    def take(page: str) -> Answer:
        return ask("POST", "api/take", json.dumps({"page": page}).encode(), JSON)

    assert take("tab-1").status == 200
    assert "open in another tab" in take("tab-2").error  # between its two first requests
    stream = socket.create_connection(("127.0.0.1", server.server_port), timeout=10)
    head = f"GET /{server.token}/api/events?page=tab-1 HTTP/1.1\r\nHost: 127.0.0.1:{server.server_port}\r\n\r\n"
    stream.sendall(head.encode())
    assert stream.recv(15) == b"HTTP/1.1 200 OK"
    assert "open in another tab" in take("tab-2").error
    assert "not the one that paints" in ask("GET", "api/events?page=tab-2").error
    stream.close()
    assert take("tab-2").status == 200
