"""`hoir submit` and what follows, on a real cluster behind a token with its results in S3."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from hoir_ray.remote import access
from hoir_ray.results.sweep_results import open_sweep
from hoir_ray.storage import open_storage
from tests.command import Hoir
from tests.faults.gates import Gate
from tests.faults.sweeps import TEXT as TINY
from tests.faults.sweeps import write_plan
from tests.servers.ports import free_ports
from tests.servers.ray_head import LOOPBACK, RayHead
from tests.servers.seaweedfs import OWNER, STRANGER, SeaweedFS

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    # Ray's client follows logs with an argument that aiohttp wants spelled otherwise.
    pytest.mark.filterwarnings("ignore:ssl=None is deprecated:DeprecationWarning"),
]
TEXT = TINY.replace("sample:astronaut", "picture.png").replace("max_trials: 4", "max_trials: 2")
EPOCHS = 6  # of the text


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file that says how trials on the cluster are held or break."""
    return tmp_path_factory.mktemp("plan") / "faults.json"


@pytest.fixture(scope="module")
def head(plan: Path) -> Iterator[RayHead]:
    injected = write_plan(plan, epochs=plan.with_name("epochs.txt"))
    with RayHead(environment={**OWNER.environment, **injected}) as head:
        yield head


@pytest.fixture
def gate(plan: Path) -> Iterator[Gate]:
    """Holds the first attempts of trials at their third epoch, with a checkpoint after every epoch."""
    gate = Gate(plan.parent, epoch=3, attempts=[1])
    write_plan(plan, epochs=plan.with_name("epochs.txt"), faults=[gate.fault], checkpoint_every_s=0)
    yield gate
    gate.open()
    write_plan(plan, epochs=plan.with_name("epochs.txt"))


@pytest.fixture
def at_head(head: RayHead, monkeypatch: pytest.MonkeyPatch) -> RayHead:
    """This process is one that the cluster lets in."""
    for name in ("RAY_AUTH_TOKEN", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in head.client_environment.items():
        monkeypatch.setenv(name, value)
    return head


def write_sweep(folder: Path, *, storage: str, endpoint_url: str | None = None) -> None:
    Image.linear_gradient("L").convert("RGB").save(folder / "picture.png")
    where = json.dumps({"uri": storage, "endpoint_url": endpoint_url})
    (folder / "s.yaml").write_text(f"{TEXT}storage: {where}\n")


def ask(head: RayHead, path: str) -> Any:
    request = urllib.request.Request(f"{head.address}{path}", headers={"Authorization": f"Bearer {head.token}"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def wait_until(condition: Callable[[], bool], *, timeout_s: float = 180) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, f"nothing came within {timeout_s} s"
        time.sleep(0.3)


def test_a_sweep_lives_on_the_cluster(
    hoir: Hoir, at_head: RayHead, gate: Gate, s3_server: SeaweedFS, s3_folder: str, tmp_path: Path
) -> None:
    storage = f"s3://{s3_folder}"
    write_sweep(tmp_path, storage=storage, endpoint_url=s3_server.endpoint_url)

    # Two at the same moment: one is submitted, and both say where it runs.
    command = [sys.executable, "-m", "hoir_ray", "submit", "s.yaml"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    both = [
        subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    said = [process.communicate(timeout=200) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert sum(b"is submitted to" in out for out, _ in said) == 1, said
    assert sum(b"there already" in out for out, _ in said) == 1, said
    assert any(re.search(rb"data: 7\d\d bytes in s3://", err) for _, err in said), said

    def status() -> dict[str, Any]:
        return json.loads(hoir("status", "tiny", "--json", "--endpoint-url", s3_server.endpoint_url).out)

    place = open_storage(storage, endpoint_url=s3_server.endpoint_url)
    wait_until(lambda: any(o.key.endswith("-e0000002/manifest.json") for o in place.list("tiny/trials/t0001")))
    wait_until(lambda: "t0001" in gate.held())
    assert "t0001" in {row["trial"] for row in status()["running"]} <= {"t0001", "t0002"}
    table = json.loads(hoir("list", "--json").out)
    assert [(row["sweep"], row["state"], row["submission_id"]) for row in table] == [("tiny", "RUNNING", "hoir-tiny-1")]
    assert "there already" in hoir("submit", "s.yaml").out
    changed = hoir("submit", "s.yaml", "--set", "budget.max_trials=3")
    assert "it keeps the budget" in changed.out
    other = hoir("submit", "s.yaml", "--set", "seed=7")
    assert (other.code, "is running on this cluster with another spec" in other.err) == (2, True)

    stopped = hoir("stop", "tiny")
    assert (stopped.code, "the same 'hoir submit' resumes it" in stopped.out) == (0, True), stopped
    assert "was not running: STOPPED" in hoir("stop", "tiny").out
    log = hoir("logs", "tiny").out
    assert "stopped: interrupted by SIGTERM" in log
    assert "resume with: hoir submit s.yaml" in log
    before = open_sweep(place.child("tiny"))
    assert all(r.state == "PENDING" and r.attempt == 1 for r in before.records), before.records
    assert hoir("logs", "-f", "tiny").code == 130

    # The picture lies in storage once, and the spec keeps the user's own path to it.
    stored = [o.key for o in place.list("inputs")]
    assert [key.rpartition("/")[2] for key in stored] == ["manifest.json", "picture.png"]
    assert before.spec.data["image"] == str(tmp_path / "picture.png")
    assert before.spec.inputs == {str(tmp_path / "picture.png"): "/".join(stored[1].split("/")[1:])}

    picture = (tmp_path / "picture.png").read_bytes()
    Image.linear_gradient("L").rotate(90).convert("RGB").save(tmp_path / "picture.png")
    refused = hoir("submit", "s.yaml")
    assert (refused.code, "picture.png has another content than when the sweep began" in refused.err) == (2, True)
    (tmp_path / "picture.png").write_bytes(picture)

    ended = hoir("submit", "s.yaml", "--follow")
    assert ended.code == 0, ended
    assert "hoir-tiny-2" in ended.out
    assert "tiny: 2 trials: 2 finished" in ended.out
    after = open_sweep(place.child("tiny"))
    assert [(r.trial, r.state, r.attempt) for r in after.records] == [(f"t000{n}", "FINISHED", 2) for n in (1, 2)]
    assert all([row["epoch"] for row in r.curve] == list(range(1, EPOCHS + 1)) for r in after.records)
    # The second is stored surely; more are where the trial, let go, is faster than the order to stop.
    history = after.records[0].history
    assert any(re.search(rf"resumes after epoch [2-{EPOCHS}]\b", line) for line in history), history
    assert [o.key for o in place.list("inputs")] == stored
    assert status()["state"] == "SUCCEEDED"
    assert status()["trials"] == {"FINISHED": 2}

    # No secret in what Ray tells of its jobs, in their logs, or in storage.
    text = json.dumps(ask(at_head, "/api/jobs/")) + log + ended.out + ended.err
    text += "".join(place.get(o.key).decode(errors="replace") for o in place.list() if o.size_bytes < 100_000)
    assert at_head.token not in text
    assert OWNER.secret_key not in text


@pytest.mark.parametrize("command", [["status"], ["stop"], ["logs"], ["logs", "-f"]])
def test_a_sweep_that_is_not_there(hoir: Hoir, at_head: RayHead, command: list[str]) -> None:
    outcome = hoir(*command, "tinny")
    assert (outcome.code, "knows no sweep 'tinny'" in outcome.err) == (2, True)


def test_an_address_that_does_not_answer(hoir: Hoir, tmp_path: Path) -> None:
    write_sweep(tmp_path, storage="runs")
    outcome = hoir("submit", "s.yaml", "--address", f"http://127.0.0.1:{free_ports(1)[0]}")
    assert (outcome.code, "nothing answers there: Connection refused" in outcome.err) == (2, True)


@pytest.mark.parametrize(
    "address", ["auto", "ray://head:10001", "http://", "http://user:hunter2@head:8265", "head:port"]
)
def test_what_is_no_address(hoir: Hoir, address: str) -> None:
    outcome = hoir("list", "--address", address)
    assert (outcome.code, "--address: must be like https://host:port" in outcome.err) == (2, True)
    assert "hunter2" not in outcome.err


@pytest.mark.parametrize("code", [404, 302])
def test_an_address_without_ray(hoir: Hoir, code: int) -> None:
    asked = []

    class Site(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(code)
            self.send_header("Location", "/elsewhere")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Site)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        outcome = hoir("list", "--address", f"127.0.0.1:{server.server_port}")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert (outcome.code, f"not Ray's dashboard (HTTP {code}" in outcome.err) == (2, True)
    assert asked == ["/api/version"]  # and the token goes nowhere else


def test_an_address_that_speaks_something_else(hoir: Hoir) -> None:
    """Such as the port of Ray's own protocol."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"\x00\x00\x12\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x64\n")

        thread = threading.Thread(target=answer)
        thread.start()
        outcome = hoir("list", "--address", f"http://127.0.0.1:{server.getsockname()[1]}")
        thread.join()
    assert (outcome.code, "but not Ray's dashboard" in outcome.err) == (2, True)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"RAY_AUTH_MODE": "disabled"}, "the cluster wants a token: set RAY_AUTH_MODE=token"),
        ({"RAY_AUTH_TOKEN": "not-the-one-" * 4}, "the cluster refuses the token in RAY_AUTH_TOKEN (HTTP 403)"),
        ({"RAY_AUTH_TOKEN_PATH": "/nowhere/token"}, "RAY_AUTH_TOKEN_PATH names /nowhere/token, which is not a file"),
        ({"RAY_AUTH_TOKEN_PATH": None}, "there is no token: set RAY_AUTH_TOKEN_PATH"),
    ],
)
def test_a_token_that_is_refused(
    hoir: Hoir,
    at_head: RayHead,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    settings: dict[str, str | None],
    said: str,
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name, value in settings.items():
        if value is None:
            monkeypatch.delenv(name)
        else:
            monkeypatch.setenv(name, value)
    outcome = hoir("list")
    assert (outcome.code, said in outcome.err) == (2, True), outcome
    assert "not-the-one" not in outcome.err


def test_other_versions_are_said_before_anything_is_shipped(
    hoir: Hoir, at_head: RayHead, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write_sweep(tmp_path, storage="runs")
    there = access.versions_here()
    monkeypatch.setattr(access, "versions_here", lambda: {"ray": "2.59.1", "python": "3.10"})
    before = ask(at_head, "/api/jobs/")
    outcome = hoir("submit", "s.yaml")
    assert outcome.code == 2
    assert f"runs Ray {there['ray']} and Python {there['python']}, this machine Ray 2.59.1" in outcome.err
    assert ask(at_head, "/api/jobs/") == before
    assert not (tmp_path / "runs").exists()


def test_data_that_is_not_there_or_too_large(hoir: Hoir, at_head: RayHead, tmp_path: Path) -> None:
    write_sweep(tmp_path, storage="runs")
    (tmp_path / "picture.png").unlink()
    missing = hoir("submit", "s.yaml")
    assert (missing.code, "picture.png: no such file or folder on this machine (s.yaml:3)" in missing.err) == (2, True)
    (tmp_path / "picture.png").write_bytes(bytes(20_000_000))
    large = hoir("submit", "s.yaml", "--max-ship", "16MiB")
    assert (large.code, "picture.png: 20 MB, more than the 16.8 MB that" in large.err) == (2, True), large.err
    assert not (tmp_path / "runs").exists()


def test_a_folder_that_the_cluster_does_not_see(hoir: Hoir, at_head: RayHead, tmp_path: Path) -> None:
    """`/proc/self/cwd` is another folder for each process, as a local folder is for each machine."""
    write_sweep(tmp_path, storage="/proc/self/cwd/runs")
    outcome = hoir("submit", "s.yaml")
    assert outcome.code == 4
    assert "is not there on" in outcome.err
    assert "use s3://bucket/prefix" in outcome.err
    assert not [o.key for o in open_storage(str(tmp_path / "runs")).list()]


@pytest.mark.long
def test_a_bucket_that_only_the_cluster_can_open(
    hoir: Hoir, at_head: RayHead, s3_server: SeaweedFS, s3_folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_sweep(tmp_path, storage=f"s3://{s3_folder}", endpoint_url=s3_server.endpoint_url)
    for name, value in STRANGER.environment.items():
        monkeypatch.setenv(name, value)
    refused = hoir("submit", "s.yaml")  # for the picture must be put there
    assert (refused.code, "the secret key does not fit" in refused.err) == (4, True), refused
    outcome = hoir("submit", "s.yaml", "--set", "data.image=sample:camera", "--set", "name=theirs")
    assert (outcome.code, "left to the cluster's machines" in outcome.err) == (0, True), outcome
    shown = hoir("status", "theirs").out
    assert "not known here" in shown
    assert STRANGER.secret_key not in shown + outcome.err + refused.err
    assert hoir("stop", "theirs").code == 0


@pytest.mark.long
def test_a_driver_ships_what_the_machines_lack(at_head: RayHead, tmp_path: Path) -> None:
    """`/proc/self/cwd` is another folder for the driver than for the processes of the trials."""
    write_sweep(tmp_path, storage=str(tmp_path / "runs"))
    picture = "/proc/self/cwd/picture.png"
    command = [sys.executable, "-m", "hoir_ray", "sweep", "s.yaml", "--set", f"data.image={picture}"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command += ["--address", at_head.ray_address]
    environment |= LOOPBACK
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, timeout=400, check=False)
    assert ended.returncode == 0, ended
    found = open_sweep(open_storage(str(tmp_path / "runs" / "tiny")))
    assert list(found.spec.inputs) == [picture]
    assert all(r.state == "FINISHED" for r in found.records)
