"""A backend on loopback that the real W&B SDK talks to: it keeps what runs send and fails on demand.

It answers the operations that runs need (create, resume, stream history, upload files) and refuses the others, as an
older self-hosted server would.
"""

from __future__ import annotations

import base64
import gzip
import http.client
import json
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

KEY = "wandbkeycanary" + "0" * 28  # the SDK asks for 40 characters without a dash


@dataclass
class Run:
    """What one run has sent; `history` has one row per step."""

    upsert: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    exit_code: int | None = None
    sessions: int = 0

    @property
    def config(self) -> dict[str, Any]:
        found = json.loads(self.upsert.get("config") or "{}")
        return {key: entry["value"] for key, entry in found.items()}


@dataclass
class Fault:
    """Requests whose `path operation` matches get `status`, or silence for `hang_s`; `times` None means all."""

    match: str
    status: int = 200
    hang_s: float = 0.0
    times: int | None = None
    hits: int = 0


class WandbBackend:
    """Listens on loopback from `__enter__` to `__exit__`."""

    def __init__(self) -> None:
        self.runs: dict[str, Run] = {}
        self.log: list[str] = []
        self.stopping = threading.Event()
        self.lock = threading.RLock()
        self._faults: list[Fault] = []

    def __enter__(self) -> WandbBackend:
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.backend = self
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

    @property
    def environment(self) -> dict[str, str]:
        """What makes the SDK in this process and its children use this backend, and nothing of its user's settings."""
        return {"WANDB_BASE_URL": self.url, "WANDB_API_KEY": KEY, "WANDB_ERROR_REPORTING": "false"}

    @contextmanager
    def faulty(
        self, match: str = ".", *, status: int = 200, hang_s: float = 0.0, times: int | None = None
    ) -> Iterator[Fault]:
        fault = Fault(match, status=status, hang_s=hang_s, times=times)
        self._faults.append(fault)
        try:
            yield fault
        finally:
            self._faults.remove(fault)

    def fault_for(self, line: str) -> Fault | None:
        with self.lock:
            self.log.append(line)
            for fault in self._faults:
                if re.search(fault.match, line) and (fault.times is None or fault.hits < fault.times):
                    fault.hits += 1
                    return fault
        return None

    def run(self, name: str) -> Run:
        with self.lock:
            return self.runs.setdefault(name, Run())

    def answer(self, operation: str, variables: dict[str, Any]) -> dict[str, Any] | None:
        """The data of a GraphQL answer, or None for operations that are not supported."""
        if operation == "Viewer":
            viewer = {"id": "VXNlcjox", "entity": "hoir", "username": "hoir", "flags": "{}", "teams": {"edges": []}}
            return {"viewer": viewer}
        if operation == "ServerFeaturesQuery":
            return {"serverInfo": {"features": []}}
        if operation == "UpsertBucket":
            return self._upsert(variables)
        if operation == "RunResumeStatus":
            return {"model": self._resume_status(variables)}
        if operation == "CreateRunFiles":
            name = variables["run"]
            files = [{"name": f, "uploadUrl": f"{self.url}/upload/{name}/{f}"} for f in variables.get("files") or []]
            return {"createRunFiles": {"runID": name, "uploadHeaders": [], "files": files}}
        return None

    def stream(self, name: str, sent: dict[str, Any]) -> None:
        """Take a part of a run's history, at the offset it names."""
        run = self.run(name)
        with self.lock:
            for file, part in (sent.get("files") or {}).items():
                if file == "wandb-history.jsonl":
                    rows = [json.loads(line) for line in part["content"]]
                    run.history[part.get("offset", 0) :] = rows
                elif file == "wandb-summary.json":
                    run.summary = json.loads(part["content"][-1])
            if sent.get("complete"):
                run.exit_code = sent.get("exitcode")

    def _upsert(self, variables: dict[str, Any]) -> dict[str, Any]:
        name = variables["name"]
        with self.lock:
            is_new = name not in self.runs
            run = self.run(name)
            run.upsert.update({k: v for k, v in variables.items() if v is not None})
            run.sessions += "groupName" in variables and variables.get("groupName") is not None
        project = {"id": "UHI=", "name": variables.get("project"), "entity": {"id": "RW4=", "name": "hoir"}}
        bucket = {
            "id": base64.b64encode(f"Run:v1:{name}".encode()).decode(),
            "name": name,
            "displayName": variables.get("displayName") or name,
            "description": "",
            "config": run.upsert.get("config") or "{}",
            "sweepName": None,
            "project": project,
            "historyLineCount": len(run.history),
        }
        return {"upsertBucket": {"bucket": bucket, "inserted": is_new}}

    def _resume_status(self, variables: dict[str, Any]) -> dict[str, Any]:
        model = {"id": "m", "name": variables.get("project"), "entity": {"id": "e", "name": "hoir"}, "bucket": None}
        run = self.runs.get(variables["name"])
        if run is None:
            return model
        tail = [json.dumps(row) for row in run.history[-1:]]
        bucket = {
            "id": "b",
            "name": variables["name"],
            "displayName": variables["name"],
            "summaryMetrics": json.dumps(run.summary),
            "logLineCount": 0,
            "historyLineCount": len(run.history),
            "eventsLineCount": 0,
            "historyTail": json.dumps(tail),
            "eventsTail": "[]",
            "config": run.upsert.get("config") or "{}",
            "tags": [],
            "wandbConfig": '{"t": 1}',
        }
        return {**model, "bucket": bucket}


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    backend: WandbBackend

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), (OSError, http.client.HTTPException)):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are kept in `WandbBackend.log` and not printed."""

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if body[:2] == b"\x1f\x8b":
            body = gzip.decompress(body)
        backend, operation, sent = self.server.backend, "", {}
        if self.path.startswith("/graphql"):
            sent = json.loads(body)
            named = re.search(r"(?:query|mutation)\s+(\w+)", sent["query"])
            operation = named[1] if named else "unnamed"
        fault = backend.fault_for(f"{self.command} {self.path} {operation}")
        if fault is not None:
            backend.stopping.wait(fault.hang_s)
            if fault.status != 200:
                self._reply(fault.status, {"errors": [{"message": "injected"}], "error": "injected"})
                return
        if operation:
            data = backend.answer(operation, sent.get("variables") or {})
            refusal = {"errors": [{"message": f"unsupported operation {operation}"}]}
            self._reply(200, {"data": data} if data is not None else refusal)
        elif streamed := re.match(r"/files/[^/]+/[^/]+/([^/]+)/file_stream", self.path):
            backend.stream(streamed[1], json.loads(body))
            self._reply(200, {})
        elif self.command == "PUT" and self.path.startswith("/upload/"):
            _, _, name, file = self.path.split("?")[0].split("/", 3)
            backend.run(name).files[file] = body
            self._reply(200, {})
        else:
            self._reply(404, {"error": "no such route"})

    do_GET = do_PUT = do_POST = _handle  # noqa: N815  # http.server's names

    def _reply(self, status: int, answer: dict[str, Any]) -> None:
        data = json.dumps(answer).encode()
        self.send_response_only(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
