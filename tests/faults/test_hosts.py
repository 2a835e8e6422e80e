"""Sweeps over several hosts: machines that crash, are cut off, or leave, and strangers that are kept out."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from hoir_ray.results.record import TrialRecord
from tests.faults.gates import Gate
from tests.faults.invariants import check_invariants
from tests.faults.sweeps import TEXT, Sweep
from tests.servers.hosts import SCRIPT, Hosts, why_not
from tests.servers.seaweedfs import OWNER, SeaweedFS

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(900),
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
]

PLAN = "HOIR_TEST_FAULTS"
TWO_TRIALS = TEXT.replace("max_trials: 4", "max_trials: 2") + "failures: {max_retries: 0}\n"
TRIALS = ("ray::ImplicitFunc", "ray::RayTrainWorker", "ray::TrainController")
BLACKHOLE = ("ip", "route", "add", "blackhole")


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    """Trials on them break as the file `faults.json` in the hosts' folder says at the time."""
    folder = tmp_path_factory.mktemp("hosts")
    python_path = os.pathsep.join([str(Path(__file__).parent / "injection"), str(Path(__file__).parents[2])])
    environment = {**OWNER.environment, PLAN: str(folder / "faults.json"), "PYTHONPATH": python_path}
    with Hosts(folder, environment=environment) as hosts:
        yield hosts


@pytest.fixture(scope="module")
def store(hosts: Hosts) -> Iterator[SeaweedFS]:
    """S3 where the hosts reach it."""
    with SeaweedFS(hosts.here) as server:
        yield server


@pytest.fixture
def sweep_of(hosts: Hosts, store: SeaweedFS, s3_owner: None, tmp_path: Path) -> Callable[..., Sweep]:
    """A sweep whose driver runs on the head, kept in a bucket of its own, with a checkpoint after every epoch."""

    def make(text: str, *, storage: str | None = None, gate: Gate | None = None) -> Sweep:
        bucket = f"hosts-{uuid.uuid4().hex[:8]}"
        store.client().create_bucket(Bucket=bucket)
        sweep = Sweep(
            tmp_path,
            storage=storage or f"s3://{bucket}/sweeps",
            endpoint_url=None if storage else store.endpoint_url,
            text=text,
            faults=[gate.fault] if gate else [],
            checkpoint_every_s=0,
            environment=hosts.environment,
            launcher=hosts.launcher(),
        )
        sweep.settings()
        (hosts.folder / "faults.json").write_text((tmp_path / "faults.json").read_text())
        return sweep

    return make


def host_of(record: TrialRecord) -> str:
    """Return the host on which a trial, or its last worker, trains."""
    return record.node.split("; ")[-1].split(",")[0]


def wait_for_trial(sweep: Sweep, process: subprocess.Popen[bytes], gate: Gate, *, kept: int) -> str:
    """Until a trial is held whose checkpoint of this epoch is in storage; its name."""
    found: list[str] = []

    def look() -> bool:
        found.extend(trial for trial in gate.held() if kept in sweep.checkpoints(trial))
        return bool(found)

    sweep.wait_until(look, process=process)
    return found[0]


def left_on_hosts(hosts: Hosts, *, within_s: float = 60) -> list[str]:
    """Processes of trials on them that outlive their sweep."""
    end = time.monotonic() + within_s
    while True:
        left = [line for line in hosts.processes() if line.startswith(TRIALS)]
        if not left or time.monotonic() > end:
            return left
        time.sleep(0.5)


def test_a_group_outlives_one_of_its_machines(hosts: Hosts, sweep_of: Callable[..., Sweep], tmp_path: Path) -> None:
    gate = Gate(tmp_path, trial="t0001", attempts=[1], firm=True)
    sweep = sweep_of(TWO_TRIALS + "resources: {workers: 2, cpus: 1}\n", gate=gate)
    process = sweep.start("--address", "auto")
    victim = wait_for_trial(sweep, process, gate, kept=2)
    hosts.do("kill", "worker2")
    hosts.do("start", "worker2")
    code = process.wait(timeout=600)
    records = check_invariants(sweep, num_trials=2, exit_code=code)
    assert code == 0, sweep.log
    record = records[victim]
    assert {part.split(",")[0] for part in record.node.split("; ")} == {"worker1", "worker2"}
    assert (record.num_preemptions, record.num_failures, record.attempt) == (1, 0, 2), record.history
    assert any("its machine was lost or cut off" in line for line in record.history)
    assert any("resumes after epoch" in line for line in record.history)
    epochs = sweep.epochs()
    again = set(epochs[record.trial, 1]) & set(epochs[record.trial, 2])
    assert again <= {3}, "it was held at the end of its third epoch, and its second was kept"
    assert left_on_hosts(hosts) == []


def test_what_a_cut_off_machine_still_trains_does_not_count(
    hosts: Hosts, sweep_of: Callable[..., Sweep], tmp_path: Path
) -> None:
    """It reaches storage, but no longer the head."""
    gate = Gate(tmp_path)
    sweep = sweep_of(TWO_TRIALS, gate=gate)
    process = sweep.start("--address", "auto")
    victim = wait_for_trial(sweep, process, gate, kept=2)
    host = sweep.hosts()[victim, 1]
    hosts.run(host, *BLACKHOLE, f"10.199.{hosts.net}.1")
    gate.open()
    try:
        code = process.wait(timeout=600)
        records = check_invariants(sweep, num_trials=2, exit_code=code)
        assert code == 0, sweep.log
        assert host_of(records[victim]) != host
        assert (records[victim].num_preemptions, records[victim].num_failures) == (1, 0)
    finally:
        hosts.run(host, "ip", "route", "del", "blackhole", f"10.199.{hosts.net}.1")
    assert left_on_hosts(hosts, within_s=90) == []
    check_invariants(sweep, num_trials=2, exit_code=code)
    hosts.do("kill", host)
    hosts.do("start", host)


class SpotMetadata(BaseHTTPRequestHandler):
    """The two answers of a spot machine's metadata service that announce its end."""

    def do_PUT(self) -> None:
        self._answer(b"a-session-token" if self.path == "/latest/api/token" else None)

    def do_GET(self) -> None:
        known = self.headers.get("X-aws-ec2-metadata-token") == "a-session-token"
        is_notice = self.path == "/latest/meta-data/spot/instance-action"
        self._answer(b'{"action": "terminate", "time": "2030-01-01T00:00:00Z"}' if known and is_notice else None)

    def _answer(self, body: bytes | None) -> None:
        self.send_response(404 if body is None else 200)
        self.send_header("Content-Length", str(len(body or b"")))
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, format: str, *arguments: object) -> None: ...


@contextmanager
def spot_metadata(address: str) -> Iterator[str]:
    with HTTPServer((address, 0), SpotMetadata) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://{address}:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_machine_that_is_to_go_is_left_in_time(hosts: Hosts, sweep_of: Callable[..., Sweep], tmp_path: Path) -> None:
    gate = Gate(tmp_path, attempts=[1])
    sweep = sweep_of(TWO_TRIALS, gate=gate)
    process = sweep.start("--address", "auto")
    victim = wait_for_trial(sweep, process, gate, kept=2)
    host = sweep.hosts()[victim, 1]
    with spot_metadata(hosts.here) as url:
        ray = f"{sys.executable} -m ray.scripts.scripts"
        script = str(SCRIPT.with_name("spot_notice.sh"))
        drained = hosts.run(host, "env", f"METADATA={url}", f"RAY={ray}", "EVERY_S=1", script)
    assert drained.returncode == 0, drained.stderr
    gate.open("t0001" if victim == "t0002" else "t0002")
    code = process.wait(timeout=600)
    records = check_invariants(sweep, num_trials=2, exit_code=code)
    assert code == 0, sweep.log
    moved = records[victim]
    assert (moved.num_preemptions, moved.num_failures, moved.attempt) == (0, 0, 2), moved.history
    assert any("requeued: its machine is about to go" in line for line in moved.history)
    assert host_of(moved) != host
    first, second = sweep.epochs()[moved.trial, 1], sweep.epochs()[moved.trial, 2]
    assert second[0] == first[-1] + 1, "its state was written before it left"
    assert left_on_hosts(hosts) == []
    hosts.do("kill", host)
    hosts.do("start", host)


def test_strangers_are_kept_out(hosts: Hosts, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong-token"
    wrong.write_text("0" * 64)
    impostor = ("env", f"RAY_AUTH_TOKEN_PATH={wrong}")
    join = ("start", f"--address=10.199.{hosts.net}.1:6379", "--temp-dir=/srv/stranger")
    joined = hosts.run("worker1", *impostor, "timeout", "40", sys.executable, "-m", "ray.scripts.scripts", *join)
    nodes = hosts.python(
        "head", "-c", "import ray; ray.init('auto', logging_level=50); print(sum(n['Alive'] for n in ray.nodes()))"
    )
    assert joined.returncode != 0
    assert nodes.stdout.split()[-1] == "3", nodes.stdout + nodes.stderr

    ask = "import sys, urllib.request as u; u.urlopen(u.Request(sys.argv[1], headers={'Authorization': sys.argv[2]}))"
    for authorization in ("", "Bearer " + "0" * 64):
        refused = hosts.python("head", "-c", ask, "http://127.0.0.1:8265/api/jobs/", authorization)
        assert "HTTP Error 40" in refused.stderr, refused.stderr
    token = (hosts.folder / "hosts" / "token").read_text()
    assert hosts.python("head", "-c", ask, "http://127.0.0.1:8265/api/jobs/", f"Bearer {token}").returncode == 0
    outside = hosts.python("worker1", "-c", ask, f"http://10.199.{hosts.net}.1:8265/api/jobs/", f"Bearer {token}")
    assert "Connection refused" in outside.stderr


def test_a_sweep_with_a_wrong_token_is_told_so(hosts: Hosts, sweep_of: Callable[..., Sweep], tmp_path: Path) -> None:
    sweep = sweep_of(TWO_TRIALS)
    (tmp_path / "wrong").write_text("0" * 64)
    sweep.launcher += ["env", f"RAY_AUTH_TOKEN_PATH={tmp_path / 'wrong'}"]
    assert sweep.run("--address", "auto") == 2, sweep.log
    assert "RAY_AUTH_TOKEN" in sweep.log
    assert "Traceback" not in sweep.log


def test_a_folder_of_one_machine_is_refused(sweep_of: Callable[..., Sweep]) -> None:
    sweep = sweep_of(TWO_TRIALS, storage="/srv/runs")
    assert sweep.run("--address", "auto") == 4, sweep.log
    assert "is not the one that worker" in sweep.log
    assert "use a folder that every machine mounts, or s3://" in sweep.log
    assert " started" not in sweep.log


def test_a_submitted_sweep_trains_where_its_picture_is_not(hosts: Hosts, sweep_of: Callable[..., Sweep]) -> None:
    picture = "from skimage import data, io; io.imsave('/srv/photo.png', data.coffee()[::8, ::8])"
    assert hosts.python("head", "-c", picture).returncode == 0
    sweep = sweep_of(TWO_TRIALS.replace("{image: sample:astronaut, max_side: 32}", "{image: /srv/photo.png}"))
    submitted = hosts.python("head", "-m", "hoir_ray", "submit", str(sweep.folder / "sweep.yaml"), "--follow")
    assert submitted.returncode == 0, submitted.stdout + submitted.stderr
    records = sweep.opened().records
    assert [r.state for r in records] == ["FINISHED", "FINISHED"], submitted.stdout
    assert {host_of(r) for r in records} <= {"worker1", "worker2"}
    listed = hosts.python("head", "-m", "hoir_ray", "list", "--json")
    assert '"tiny"' in listed.stdout, listed.stdout + listed.stderr
    assert left_on_hosts(hosts) == []
