"""Requests that are let through and those that are not, over a real socket."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from queue import Queue
from urllib.parse import urlsplit

import pytest

from hoir_ray.errors import RequestError
from hoir_ray.serve import serve
from hoir_ray.serve.server import read_token
from tests.report.made import made_sweep
from tests.serve.served import Served, served

TOKEN = "0123456789abcdef0123"


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("runs")
    made_sweep(folder, num_trials=3)
    with served(str(folder)) as found:
        yield found


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("runs")
    made_sweep(folder, num_trials=3)
    with served(str(folder), token=TOKEN, names=("Studio.example",)) as found:
        yield found


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200),
        ("localhost:{port}", 200),
        ("evil.example", 421),
        ("evil.example:{port}", 421),
        ("", 421),
        ("127.0.0.1.evil.example", 421),
        ("localhost:x", 421),
    ],
)
def test_only_own_names_are_answered(pages: Served, host: str, status: int) -> None:
    assert pages.get("/", headers={"Host": host.format(port=pages.port)}).status == status


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_nothing_can_be_changed(pages: Served, method: str) -> None:
    assert pages.get("/sweeps/made", method=method).status == 405


def test_every_answer_says_what_may_run_in_it(pages: Served) -> None:
    for path in ("/", "/sweeps.json", "/sweeps/made", "/sweeps/made/trials/t0001", "/nothing", "/static/index.js"):
        answer = pages.get(path)
        assert "default-src 'none'" in answer.headers["content-security-policy"], path
        assert "unsafe" not in answer.headers["content-security-policy"], path
        assert answer.headers["x-content-type-options"] == "nosniff"
    report = pages.get("/sweeps/made/report").headers["content-security-policy"]
    assert report.startswith("sandbox allow-scripts;")
    assert "connect-src" not in report


def test_a_token_is_asked_for_once_and_kept_in_a_cookie(closed: Served) -> None:
    assert closed.get("/sweeps.json").status == 401
    assert closed.get("/?token=wrong").status == 401
    assert closed.get("/sweeps.json", headers={"Cookie": "hoir_token=wrong"}).status == 401
    given = closed.get(f"/sweeps/made?token={TOKEN}&a=b")
    assert (given.status, given.headers["location"]) == (303, "/sweeps/made?a=b")
    cookie = given.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "samesite=strict" in cookie.lower()
    assert closed.get("/sweeps.json", headers={"Cookie": cookie.partition(";")[0]}).status == 200
    assert urlsplit(closed.get(f"//evil.example/?token={TOKEN}").headers["location"]).netloc == ""


def test_further_names_are_those_that_were_given(closed: Served) -> None:
    assert closed.get(f"/?token={TOKEN}", headers={"Host": "studio.example:1"}).status == 303
    assert closed.get(f"/?token={TOKEN}", headers={"Host": "example"}).status == 421


def test_what_is_not_there_is_a_line(pages: Served) -> None:
    for path, words in {
        "/sweeps/mad": "Did you mean 'made'?",
        "/sweeps/..%2f..": "",
        "/sweeps/%2e%2e": "must not be empty, '.' or '..'",
        "/sweeps/%00": "control characters",
        "/sweeps/made/trials/t0009": "no trial 't0009'",
        "/sweeps/made/trials/t0001/pack.zip": "is not there any more",
        "/static/..%2fapp.py": "",
    }.items():
        answer = pages.get(path)
        assert answer.status == 404, (path, answer.body)
        assert words in answer.body.decode()


def test_others_may_read_only_with_a_token(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"--host 0\.0\.0\.0: others could read these pages.*--token-file"):
        serve(str(tmp_path), host="0.0.0.0")


def test_a_port_in_use_is_said(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(RequestError, match=f"--port {port}: cannot be used: Address already in use"):
            serve(str(tmp_path), port=port)


@pytest.mark.parametrize("content", [b"", b"short", b"with space in it, long", b"\xff" * 20])
def test_tokens_that_are_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "token").write_bytes(content)
    with pytest.raises(RequestError, match="--token-file"):
        read_token(tmp_path / "token")


def test_a_token_is_read_without_its_line_end(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    assert read_token(tmp_path / "token") == TOKEN


def test_a_server_that_is_told_to_stop_ends(tmp_path: Path) -> None:
    stop, shown = threading.Event(), Queue[str]()
    thread = threading.Thread(
        target=serve,
        args=(str(tmp_path),),
        kwargs={"port": 0, "stop": stop, "show": lambda address, needs_token: shown.put(address)},
    )
    thread.start()
    address = urlsplit(shown.get(timeout=60))
    connection = http.client.HTTPConnection("127.0.0.1", address.port or 0, timeout=60)
    connection.request("GET", "/")
    assert connection.getresponse().status == 200
    connection.close()
    stop.set()
    thread.join(60)
    assert not thread.is_alive()
