"""A cluster's answers are not trusted: limits of their size and time, and of where credentials go."""

from __future__ import annotations

import http.server
import json
import threading
import time
from collections.abc import Iterator

import pytest

from hoir_ray.errors import HoirError
from hoir_ray.remote import access
from hoir_ray.remote.jobs import SweepJob, open_results


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, list[str]]]:
    """A server that notes who asks it, with credentials in the environment."""
    requests: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            requests.append(str(self.headers))
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "session-token")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", requests
    server.shutdown()
    server.server_close()


def job(endpoint_url: str | None) -> SweepJob:
    texts = dict.fromkeys(("state", "message", "owner", "spec_digest", "settings_digest"), "")
    return SweepJob(
        sweep="s",
        number=1,
        submission_id="hoir-s-1",
        storage="s3://bucket/prefix",
        endpoint_url=endpoint_url,
        started_at=None,
        ended_at=None,
        driver_exit_code=None,
        **texts,
    )


def test_a_server_that_the_cluster_names_gets_no_credentials(asked: tuple[str, list[str]]) -> None:
    address, requests = asked
    (found,) = open_results([job(address)])
    assert isinstance(found, HoirError)
    assert f"is at {address}; credentials are only sent to a server that is named here" in str(found)
    assert requests == []


@pytest.mark.parametrize("named", ["by a flag", "in the environment"])
def test_a_server_that_the_user_names_is_asked(
    named: str, asked: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    address, requests = asked
    if named == "in the environment":
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
    open_results([job(f"{address}/")], endpoint_url=address if named == "by a flag" else None)
    assert any("session-token" in headers for headers in requests)


@pytest.mark.parametrize("way", ["endless", "slow"])
def test_an_answer_has_an_end(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "MAX_ANSWER_BYTES", 1_000_000)
    monkeypatch.setattr(access, "WHOLE_ANSWER_S", 1.0 if way == "slow" else 60.0)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            try:
                if self.path == "/api/version" and way == "endless":
                    self.wfile.write(json.dumps({"ray_version": "2", "version": "4"}).encode())
                    return
                while True:
                    self.wfile.write(b" " * (65536 if way == "endless" else 1))
                    time.sleep(0.0 if way == "endless" else 0.1)
            except OSError:
                pass

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        began = time.monotonic()
        with pytest.raises(HoirError):
            access.connect(f"127.0.0.1:{server.server_port}").newest()
        assert time.monotonic() - began < 50
    finally:
        server.shutdown()
        server.server_close()
