"""A report that is kept fresh while its sweep runs, shown on this machine alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from hoir_ray.errors import RequestError, StorageError
from hoir_ray.machine.loopback import ADDRESS, IDLE_S, is_own_name
from hoir_ray.report.page import build_report, write_report
from hoir_ray.results.sweep_results import SweepResults

EVERY_S = 5.0


class Freshness:
    """The newest page and its version; rebuilt only when a trial has changed."""

    def __init__(self, open_sweep: Callable[[], SweepResults]) -> None:
        self._open = open_sweep
        self._lock = threading.Lock()
        self.page, self.version = b"", ""
        self.sweep = self.refresh()

    def refresh(self) -> SweepResults:
        """Read the ledger again. Raises StorageError when it cannot be read."""
        sweep = self._open()
        if sweep.version != self.version:
            page = build_report(sweep, version=sweep.version).encode()
            with self._lock:
                self.sweep, self.page, self.version = sweep, page, sweep.version
        return self.sweep

    def current(self) -> tuple[bytes, str]:
        with self._lock:
            return self.page, self.version


def watch_report(
    open_sweep: Callable[[], SweepResults],
    *,
    out: Path,
    port: int = 0,
    every_s: float = EVERY_S,
    show: Callable[[str], None] = lambda address: None,
    stop: threading.Event | None = None,
) -> None:
    """Serve the report on loopback and rewrite `out`, until interrupted or `stop` is set.

    Args:
        show: Told the address once the page can be opened.

    Raises:
        RequestError: If the port is taken.
    """
    fresh, stop = Freshness(open_sweep), stop or threading.Event()
    try:
        server = ThreadingHTTPServer((ADDRESS, port), _handler(fresh))
    except OSError as error:
        raise RequestError(f"--port {port}: cannot be used: {error.strerror or error}") from error
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True, name="report").start()
    try:
        write_report(fresh.sweep, out)
        written = fresh.version
        show(f"http://127.0.0.1:{server.server_address[1]}/")
        while not stop.wait(every_s):
            try:
                fresh.refresh()
            except StorageError:  # the next try may do; the page shows what was known
                time.sleep(every_s)
                continue
            if fresh.version != written:
                write_report(fresh.sweep, out)
                written = fresh.version
    finally:
        server.shutdown()
        server.server_close()


def _handler(fresh: Freshness) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = IDLE_S

        def do_GET(self) -> None:
            if not is_own_name(self.headers.get("Host", "")):
                self.send_error(421)
                return
            page, version = fresh.current()
            contents = {"/": (page, "text/html"), "/version": (version.encode(), "text/plain")}
            if self.path not in contents:
                self.send_error(404)
                return
            content, kind = contents[self.path]
            self.send_response(200)
            self.send_header("Content-Type", f"{kind}; charset=utf-8")
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            """Requests of one's own browser are nothing to report."""

    return Handler
