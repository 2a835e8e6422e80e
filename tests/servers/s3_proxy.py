"""An HTTP proxy before an S3 server that counts its requests and breaks them on demand.

It passes the Host header on, so that signatures made for the proxy's address still hold behind it.
"""

from __future__ import annotations

import http.client
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from tests.servers.loopback import Fault, Handler, LoopbackServer

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
class Request:
    """One request, logged as it comes in; status 0 stands for no answer, or none yet."""

    method: str
    path: str
    fault: str | None
    status: int = 0


class S3Proxy(LoopbackServer):
    """Passes on what no fault stops."""

    def __init__(self, upstream_url: str) -> None:
        super().__init__()
        self.handler = _Handler
        self.log: list[Request] = []
        self.upstream = urlsplit(upstream_url).netloc

    @property
    def endpoint_url(self) -> str:
        return self.url

    @contextmanager
    def faulty(
        self, mode: Mode, *, match: str = ".", times: int | None = None, seconds: float = 600.0
    ) -> Iterator[Fault]:
        """Break requests whose `METHOD /path?query` matches; the fault counts its `hits`."""
        with self.broken(Fault(mode, match, times, seconds)) as fault:
            yield fault

    def record(self, request: Request) -> None:
        with self.lock:
            self.log.append(request)


class _Handler(Handler):
    def handle_request(self) -> None:
        proxy: S3Proxy = self.server.owner
        fault = proxy.fault_for(f"{self.command} {self.path}")
        mode: str | None = fault.mode if fault else None
        request = Request(self.command, self.path, mode)
        proxy.record(request)
        if fault and mode in {"slow", "hang"}:
            proxy.stopping.wait(fault.seconds)
        if mode in {"reset", "hang"}:
            self._reset()
        elif mode in _CODES:
            self.body()
            request.status = self._refuse(int(mode or 0))
        else:
            request.status = self._forward(mode)

    def _forward(self, mode: str | None) -> int:
        body = self.body()
        upstream = http.client.HTTPConnection(self.server.owner.upstream, timeout=120)
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

    def _answer(self, answer: http.client.HTTPResponse, data: bytes, mode: str | None) -> int:
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

    def _refuse(self, status: int) -> int:
        code = _CODES[str(status)]
        data = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>injected</Message></Error>".encode()
        self.reply(status, data, kind="application/xml")
        return status

    def _reset(self) -> None:
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # Closing needs every reference gone; shutting down would send FIN instead of RST.
        self.rfile.close()
        self.connection.close()
