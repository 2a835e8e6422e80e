"""An HTTP proxy before an S3 server that counts its requests and breaks them on demand.

It passes the Host header on, so that signatures made for the proxy's address still hold behind it.
"""

from __future__ import annotations

import http.client
import re
import socket
import struct
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Literal
from urllib.parse import urlsplit

Mode = Literal[
    "500",  # InternalError
    "503",  # SlowDown
    "403",  # AccessDenied
    "404",  # NoSuchBucket
    "slow",  # pass on after `seconds`
    "hang",  # accept, then silence for `seconds`
    "reset",  # TCP reset before anything is passed on
    "truncate_upload",  # the server gets half of the body, the client a reset
    "truncate_download",  # the client gets half of the body
    "lose_answer",  # the server does it, the client gets a reset
]
_CODES = {"500": "InternalError", "503": "SlowDown", "403": "AccessDenied", "404": "NoSuchBucket"}
_HOP_BY_HOP = {"transfer-encoding", "connection", "expect", "content-length"}


@dataclass
class Fault:
    """What happens to requests whose `METHOD /path?query` matches; `times` None means all of them."""

    mode: Mode
    match: str = "."
    times: int | None = None
    seconds: float = 600.0
    hits: int = 0


@dataclass
class Request:
    """One request, logged as it comes in; status 0 stands for no answer, or none yet."""

    method: str
    path: str
    fault: Mode | None
    status: int = 0


class S3Proxy:
    """Listens on loopback from `__enter__` to `__exit__`; `faulty` breaks matching requests inside its block."""

    def __init__(self, upstream_url: str) -> None:
        self.log: list[Request] = []
        self.upstream = urlsplit(upstream_url).netloc
        self.stopping = threading.Event()
        self._faults: list[Fault] = []
        self._lock = threading.Lock()

    def __enter__(self) -> S3Proxy:
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.proxy = self
        self.endpoint_url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=10)

    @contextmanager
    def faulty(
        self, mode: Mode, *, match: str = ".", times: int | None = None, seconds: float = 600.0
    ) -> Iterator[Fault]:
        """Break matching requests inside the block; the fault counts its `hits`."""
        fault = Fault(mode, match=match, times=times, seconds=seconds)
        with self._lock:
            self._faults.append(fault)
        try:
            yield fault
        finally:
            with self._lock:
                self._faults.remove(fault)

    def fault_for(self, line: str) -> Fault | None:
        with self._lock:
            for fault in self._faults:
                if re.search(fault.match, line) and (fault.times is None or fault.hits < fault.times):
                    fault.hits += 1
                    return fault
        return None

    def record(self, request: Request) -> None:
        with self._lock:
            self.log.append(request)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    proxy: S3Proxy

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), (OSError, http.client.HTTPException)):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are kept in `S3Proxy.log` and not printed."""

    def _handle(self) -> None:
        proxy = self.server.proxy
        fault = proxy.fault_for(f"{self.command} {self.path}")
        mode = fault.mode if fault else None
        request = Request(self.command, self.path, mode)
        proxy.record(request)
        if fault and mode in {"slow", "hang"}:
            proxy.stopping.wait(fault.seconds)
        if mode in {"reset", "hang"}:
            self._reset()
        elif mode in _CODES:
            self._body()
            request.status = self._refuse(int(mode or 0))
        else:
            request.status = self._forward(mode)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _handle  # noqa: N815  # http.server's names

    def _forward(self, mode: Mode | None) -> int:
        body = self._body()
        upstream = http.client.HTTPConnection(self.server.proxy.upstream, timeout=120)
        try:
            upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in _HOP_BY_HOP:
                    upstream.putheader(name, value)
            if body or self.command in {"PUT", "POST"}:
                upstream.putheader("Content-Length", str(len(body)))
            upstream.endheaders()
            if mode == "truncate_upload":
                upstream.send(body[: len(body) // 2])
                self._reset()
                return 0
            if body:
                upstream.send(body)
            answer = upstream.getresponse()
            return self._answer(answer, answer.read(), mode)
        finally:
            upstream.close()

    def _answer(self, answer: http.client.HTTPResponse, data: bytes, mode: Mode | None) -> int:
        if mode == "lose_answer":
            self._reset()
            return 0
        self.send_response_only(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in _HOP_BY_HOP:
                self.send_header(name, value)
        length = answer.getheader("Content-Length") if self.command == "HEAD" else str(len(data))
        if length is not None and answer.status != 204:
            self.send_header("Content-Length", length)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data[: len(data) // 2] if mode == "truncate_download" else data)
        self.close_connection = self.close_connection or mode == "truncate_download"
        return answer.status

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while length := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(length)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _refuse(self, status: int) -> int:
        code = _CODES[str(status)]
        data = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>injected</Message></Error>".encode()
        self.send_response_only(status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)
        return status

    def _reset(self) -> None:
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # Closing needs every reference gone; shutting down would send FIN instead of RST.
        self.rfile.close()
        self.connection.close()
