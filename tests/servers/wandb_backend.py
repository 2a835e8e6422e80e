"""A backend on loopback that the real W&B SDK talks to: it keeps what runs send and fails on demand.

It answers the operations that runs, their artifacts, views and reports need and refuses the others, as an older
self-hosted server would.
"""

from __future__ import annotations

import base64
import gzip
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.servers.loopback import Fault, Handler, LoopbackServer

KEY = "wandbkeycanary" + "0" * 28  # the SDK asks for 40 characters without a dash


@dataclass
class Run:
    """Rows and files that one run has sent; `history` has one row per step."""

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
class Artifact:
    """Artifact of a run; `entries` is what the manifest says of each file or reference."""

    type: str
    run: str
    entries: dict[str, dict[str, Any]] = field(default_factory=dict)
    is_committed: bool = False


@dataclass
class View:
    """Saved view of a project, or a report; `spec` is what it shows, and `num_saved` how often it was sent."""

    type: str
    name: str
    display_name: str
    entity: str
    project: str
    spec: dict[str, Any]
    num_saved: int = 1


class WandbBackend(LoopbackServer):
    """Keeps runs by id, artifacts by name, views and reports by id, and a line for each request."""

    def __init__(self) -> None:
        super().__init__()
        self.handler = _Handler
        self.runs: dict[str, Run] = {}
        self.artifacts: dict[str, Artifact] = {}
        self.views: dict[str, View] = {}
        self.projects: set[str] = set()
        self.log: list[str] = []

    @property
    def environment(self) -> dict[str, str]:
        """Variables that make the SDK here and in children use this backend, and nothing of the user's settings."""
        return {"WANDB_BASE_URL": self.url, "WANDB_API_KEY": KEY, "WANDB_ERROR_REPORTING": "false"}

    @contextmanager
    def faulty(
        self, match: str = ".", *, status: int = 200, hang_s: float = 0.0, times: int | None = None
    ) -> Iterator[Fault]:
        """Requests whose `METHOD path operation` matches get `status`, after silence of `hang_s`."""
        with self.broken(Fault(str(status), match, times, hang_s)) as fault:
            yield fault

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
        return self._answer_about_projects(operation, variables) or self._answer_about_artifacts(operation, variables)

    def _answer_about_projects(self, operation: str, variables: dict[str, Any]) -> dict[str, Any] | None:
        if operation in {"GetDefaultEntity", "GetViewer"}:
            return self.answer("Viewer", variables)
        if operation == "GetProjects":
            page = {"__typename": "PageInfo", "endCursor": None, "hasNextPage": False}
            nodes = [{"node": _project(name)} for name in sorted(self.projects)]
            return {"models": {"pageInfo": page, "edges": nodes}}
        if operation == "CreateProject":
            name = variables["input"]["name"]
            with self.lock:
                self.projects.add(name)
            made = {**_project(name), "description": "", "access": None, "views": None}
            return {"result": {"project": made, "model": made, "inserted": True}}
        if operation == "ProjectInternalId":
            name = variables["projectName"]
            known = {"id": "UHI=", "internalId": "UHJvamVjdEludGVybmFsSWQ6MQ=="}
            return {"project": known if name in self.projects else None}
        if operation in {"UpsertView2", "upsertView"}:
            return self._upsert_view(variables)
        return None

    def _upsert_view(self, variables: dict[str, Any]) -> dict[str, Any] | None:
        """Take a view or report: one that an id names replaces the one before, and there is no view of no project."""
        if variables["projectName"] not in self.projects:
            return None
        with self.lock:
            key = variables.get("id") or f"Vmlldzo{len(self.views) + 1}"
            before = self.views.get(key)
            view = View(
                variables["type"],
                variables["name"],
                variables["displayName"],
                variables["entityName"],
                variables["projectName"],
                json.loads(variables["spec"]),
                num_saved=before.num_saved + 1 if before else 1,
            )
            self.views[key] = view
        answered = {
            "id": key,
            "type": view.type,
            "name": view.name,
            "displayName": view.display_name,
            "description": variables["description"],
            "project": {"id": "UHI=", "name": view.project, "entityName": view.entity},
            "spec": variables["spec"],
            "updatedAt": "2026-01-01T00:00:00Z",
        }
        return {"upsertView": {"view": answered, "inserted": before is None}}

    def _answer_about_artifacts(self, operation: str, variables: dict[str, Any]) -> dict[str, Any] | None:
        """An artifact's id is its name, and so is its manifest's."""
        if operation == "CreateArtifact":
            sent = variables["input"]
            name = (
                sent["artifactCollectionName"]
                if "artifactCollectionName" in sent
                else sent["artifactCollectionNames"][0]
            )
            self.artifacts[name] = Artifact(sent["artifactTypeName"], run=sent["runName"])
            made = {"id": name, "state": "PENDING", "artifactSequence": {"id": name, "latestArtifact": None}}
            return {"createArtifact": {"artifact": made}}
        if operation in {"CreateArtifactManifest", "UpdateArtifactManifest"}:
            name = variables.get("artifactID") or variables["artifactManifestID"]
            file = {"id": name, "uploadUrl": f"{self.url}/manifest/{name}", "uploadHeaders": []}
            made = {"artifactManifest": {"id": name, "file": file}}
            return {operation[0].lower() + operation[1:]: made}
        if operation == "CreateArtifactFiles":
            nodes = [
                {
                    "name": spec["name"],
                    "displayName": spec["name"],
                    "storagePath": spec["name"],
                    "uploadUrl": f"{self.url}/artifact/{spec['artifactID']}/{spec['name']}",
                    "uploadHeaders": [],
                    "uploadMultipartUrls": None,
                    "artifact": {"id": spec["artifactID"]},
                }
                for spec in variables["input"]["artifactFiles"]
            ]
            return {"createArtifactFiles": {"files": {"edges": [{"node": node} for node in nodes]}}}
        if operation == "CommitArtifact":
            self.artifacts[variables["artifactID"]].is_committed = True
            return {"commitArtifact": {"artifact": {"id": variables["artifactID"], "digest": "d"}}}
        return None

    def stream(self, name: str, sent: dict[str, Any]) -> None:
        """Take a part of a run's history, at the offset it names.

        What lies behind that part stays: a process that outlived its killed attempt may send what the next attempt,
        which has come further, has sent already.
        """
        run = self.run(name)
        with self.lock:
            for file, part in (sent.get("files") or {}).items():
                if file == "wandb-history.jsonl":
                    rows = [json.loads(line) for line in part["content"]]
                    offset = part.get("offset", 0)
                    run.history[offset : offset + len(rows)] = rows
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
            self.projects.add(variables.get("project") or "uncategorized")
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


def _project(name: str) -> dict[str, Any]:
    return {
        "__typename": "Project",
        "id": "UHI=",
        "name": name,
        "entityName": "hoir",
        "createdAt": "2026-01-01T00:00:00Z",
        "isBenchmark": False,
        "user": None,
    }


class _Handler(Handler):
    def handle_request(self) -> None:
        body = self.body()
        if body[:2] == b"\x1f\x8b":
            body = gzip.decompress(body)
        backend: WandbBackend = self.server.owner
        operation, sent = "", {}
        if self.path.startswith("/graphql"):
            sent = json.loads(body)
            named = re.search(r"(?:query|mutation)\s+(\w+)", sent["query"])
            operation = named[1] if named else "unnamed"
        line = f"{self.command} {self.path} {operation}"
        backend.log.append(line)
        fault = backend.fault_for(line)
        if fault is not None:
            backend.stopping.wait(fault.seconds)
            if fault.mode != "200":
                self._reply(int(fault.mode), {"errors": [{"message": "injected"}], "error": "injected"})
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
        elif self.command == "PUT" and self.path.startswith("/artifact/"):
            self._reply(200, {})
        elif self.command == "PUT" and self.path.startswith("/manifest/"):
            backend.artifacts[self.path.removeprefix("/manifest/")].entries = json.loads(body)["contents"]
            self._reply(200, {})
        else:
            self._reply(404, {"error": "no such route"})

    def _reply(self, status: int, answer: dict[str, Any]) -> None:
        self.reply(status, json.dumps(answer).encode(), kind="application/json")
