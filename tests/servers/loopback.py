"""An HTTP server on loopback whose requests can be broken on demand; what it answers otherwise is its subclass's."""

from __future__ import annotations

import http.client
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self


@dataclass
class Fault:
    """What happens to requests whose line matches; `times` None means all of them."""

    mode: str
    match: str
    times: int | None
    seconds: float
    hits: int = 0


class LoopbackServer:
    """Listens from `__enter__` to `__exit__` at `url`; `faulty` breaks matching requests inside its block."""

    handler: type[Handler]

    def __init__(self) -> None:
        self.stopping = threading.Event()
        self.lock = threading.RLock()
        self._faults: list[Fault] = []

    def __enter__(self) -> Self:
        self._server = _Server(("127.0.0.1", 0), self.handler)
        self._server.owner = self
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
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
    def broken(self, fault: Fault) -> Iterator[Fault]:
        with self.lock:
            self._faults.append(fault)
        try:
            yield fault
        finally:
            with self.lock:
                self._faults.remove(fault)

    def fault_for(self, line: str) -> Fault | None:
        with self.lock:
            for fault in self._faults:
                if re.search(fault.match, line) and (fault.times is None or fault.hits < fault.times):
                    fault.hits += 1
                    return fault
        return None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    owner: Any

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), (OSError, http.client.HTTPException)):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """Calls `handle_request` for every method."""

    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:
        """Servers keep their own logs; nothing is printed."""

    def handle_request(self) -> None:
        raise NotImplementedError

    def _handle(self) -> None:
        self.handle_request()

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _handle  # noqa: N815  # http.server's names

    def body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while length := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(length)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def reply(self, status: int, data: bytes, *, kind: str) -> None:
        self.send_response_only(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)
