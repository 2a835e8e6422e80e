"""A cluster's answers are not trusted: limits of their size and time, and of where credentials go."""

from __future__ import annotations

import asyncio
import http.server
import json
import threading
import time
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import aiohttp.web
import pytest

from hoir_ray.errors import HoirError, WorkError
from hoir_ray.remote import access, client, jobs
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
    monkeypatch.setattr(client, "MAX_ANSWER_BYTES", 1_000_000)
    monkeypatch.setattr(client, "WHOLE_ANSWER_S", 1.0 if way == "slow" else 60.0)

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


class Cluster:
    """Answers as Ray's dashboard does, but for one thing that it does wrong while a log is followed."""

    def __init__(self, fault: str, details: dict[str, Any]) -> None:
        self.fault, self.details = fault, details
        self.num_followed = 0

    async def version(self, _: aiohttp.web.Request) -> aiohttp.web.Response:
        return aiohttp.web.json_response({"ray_version": "2.50.0", "version": "4"})

    async def jobs(self, _: aiohttp.web.Request) -> aiohttp.web.Response:
        return aiohttp.web.json_response([self.details])

    async def job(self, _: aiohttp.web.Request) -> aiohttp.web.Response:
        if self.fault == "hangs":
            await asyncio.sleep(600)
        state = "SUCCEEDED" if self.fault == "keeps silent at the end" else "RUNNING"
        return aiohttp.web.json_response({**self.details, "status": state})

    async def tail(self, request: aiohttp.web.Request) -> aiohttp.web.StreamResponse:
        self.num_followed += 1
        if self.fault == "does not take it":
            await asyncio.sleep(600)
        socket = aiohttp.web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_str("one line\n")
        while self.fault == "never ends":
            await socket.send_str("another line\n" * 5000)
        if self.fault == "sends it at once":
            await socket.send_str("x" * (client.MAX_MESSAGE_BYTES + 1))
        await asyncio.sleep(600)
        return socket

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        app = aiohttp.web.Application()
        app.router.add_get("/api/version", self.version)
        app.router.add_get("/api/jobs/", self.jobs)
        app.router.add_get("/api/jobs/hoir-s-1", self.job)
        app.router.add_get("/api/jobs/hoir-s-1/logs/tail", self.tail)
        runner = aiohttp.web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await aiohttp.web.TCPSite(runner, "127.0.0.1", 0).start()
            yield f"127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()

    @contextmanager
    def running(self) -> Iterator[str]:
        address: Future[str] = Future()
        end = threading.Event()

        async def serve() -> None:
            async with self.serving() as served:
                address.set_result(served)
                await asyncio.to_thread(end.wait)

        thread = threading.Thread(target=lambda: asyncio.run(serve()))
        thread.start()
        try:
            yield address.result(timeout=30)
        finally:
            end.set()
            thread.join()


DETAILS = {
    "type": "SUBMISSION",
    "submission_id": "hoir-s-1",
    "status": "RUNNING",
    "entrypoint": "hoir sweep",
    "metadata": {"hoir_sweep": "s", "hoir_storage": "s3://bucket/prefix"},
}


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("hangs", "the connection was lost"),
        ("does not take it", "the connection was lost"),
        ("never ends", "the log is longer than 3,000,000 characters"),
        ("sends it at once", "the log's connection broke"),
    ],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_log_that_is_followed_has_limits(fault: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"SILENCE_S": 0.2, "ANSWER_S": 0.5}.items():
        monkeypatch.setattr(client, name, value)
    monkeypatch.setattr(jobs, "RECONNECT_S", 1.0)
    monkeypatch.setattr(jobs, "MAX_ANSWER_BYTES", 3_000_000)
    written = 0

    def write(text: str) -> None:
        nonlocal written
        written += len(text)

    with Cluster(fault, DETAILS).running() as address:
        found = access.connect(address)
        tracemalloc.start()
        try:
            with pytest.raises(WorkError, match="the sweep continues without being watched") as raised:
                found.follow(found.find("s"), write=write)
            most = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert said in str(raised.value)
    assert written < 3_100_000
    assert most < 40_000_000


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_silent_log_of_an_ended_job_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "SILENCE_S", 0.2)
    cluster = Cluster("keeps silent at the end", DETAILS)
    texts: list[str] = []
    with cluster.running() as address:
        found = access.connect(address)
        ended = found.follow(found.find("s"), write=texts.append)
    assert (ended.state, texts, cluster.num_followed) == ("SUCCEEDED", ["one line\n"], 1)


@pytest.mark.parametrize(
    "details",
    [
        {"type": "SUBMISSION"},
        {**DETAILS, "start_time": 10**40},
        {**DETAILS, "metadata": "none"},
        {**DETAILS, "submission_id": f"hoir-s-{'9' * 5000}", "status": ["RUNNING"]},
        ["a list"],
    ],
)
def test_an_answer_of_another_form(details: Any) -> None:
    with Cluster("", details).running() as address, pytest.raises(WorkError, match=r"not Ray's|did not do it"):
        access.connect(address).find("s")
