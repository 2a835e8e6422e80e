"""Real sweeps through Ray on this machine, from a YAML to pulled models, interruption and resume included."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import psutil
import pytest

from hoir_ray.packs.pack import load_pack
from hoir_ray.results.ledger import Ledger
from hoir_ray.results.record import picture_of
from hoir_ray.results.sweep_results import open_sweep
from hoir_ray.spec.document import load_document
from hoir_ray.storage import open_storage
from tests.faults.gates import Gate
from tests.faults.sweeps import write_plan

pytestmark = pytest.mark.slow

SWEEP = """\
name: small
task: image
data: {image: sample:astronaut, max_side: 32}
metric: {name: val_psnr_db, goal: maximize}
parameters:
  network.layer_type: {values: [continuous, fourier, polynomial]}
  network.input.segments: {when: {network.layer_type: continuous}, min: 4, max: 16}
  network.hidden.width: {min: 4, max: 12}
  training.optimizer.lr: {min: 1.0e-3, max: 3.0e-2, distribution: log_uniform_values}
  training.max_epochs: {value: 9}
early_terminate: {type: asha, min_iter: 1, eta: 3}
budget: {max_trials: 6}
storage: {uri: STORE}
"""


def start(folder: Path, *arguments: str, environment: Mapping[str, str] = {}) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "hoir_ray", "sweep", "sweep.yaml", *arguments]
    with (folder / "sweep.log").open("a") as log:
        return subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, **environment},
            stdout=log,
            stderr=log,
            text=True,
            start_new_session=True,
        )


def run(folder: Path, *arguments: str) -> int:
    return start(folder, *arguments).wait(timeout=240)


def log_of(folder: Path) -> str:
    return (folder / "sweep.log").read_text()


def write(folder: Path, text: str = SWEEP) -> None:
    (folder / "sweep.yaml").write_text(text.replace("STORE", str(folder / "store")))


def left_behind(session: int) -> list[str]:
    """Processes of the session that `start` made, which Ray's own are part of."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        try:
            if os.getsid(process.pid) == session and process.status() != psutil.STATUS_ZOMBIE:
                found.append(" ".join(process.info["cmdline"] or [])[:100])
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    return found


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    write(folder)
    assert run(folder) == 0, log_of(folder)
    return folder


@pytest.fixture
def storage(finished):
    return open_storage(str(finished / "store")).child("small")


def test_every_trial_ended_with_a_state_and_a_reason(storage):
    records = Ledger(storage).load()
    assert len(records) == 6
    assert {r.state for r in records} <= {"FINISHED", "PRUNED"}
    for record in records:
        assert record.reason
        assert record.node
        assert [row["epoch"] for row in record.curve] == list(range(1, record.epochs + 1))


def test_what_a_sweep_leaves_is_what_it_says(storage):
    records = Ledger(storage).load()
    best = json.loads(storage.get("best.json"))["best"]
    finished = [r for r in records if r.state == "FINISHED"]
    assert best["metrics"]["val_psnr_db"] == max(r.best["val_psnr_db"] for r in finished if r.best)
    table = pd.read_parquet(f"{storage.uri}/trials.parquet")
    assert list(table["trial"]) == [r.trial for r in records]
    assert storage.exists(next(r.picture_key for r in finished if r.trial == best["trial"]))
    assert all(r.picture_key == picture_of(r.model) for r in finished if r.model)
    packs = {o.key.rpartition("/")[0] for o in storage.list("models")}
    assert packs == {r.model for r in finished}


def test_the_pack_holds_the_best_epoch_and_draws(storage, finished):
    leader = open_sweep(storage).leaderboard()[0]
    pack = load_pack(Path(storage.uri, leader.model))
    assert pack.metrics["epoch"] == leader.best["epoch"]
    assert pack.metrics["val_psnr_db"] == leader.best["val_psnr_db"]
    assert sum(p.numel() for p in pack.network.parameters()) == leader.num_parameters


def test_trackers_have_watched_every_trial(storage):
    records = Ledger(storage).load()
    for record in records:
        lines = Path(storage.uri, "trackers/jsonl", record.trial, "metrics.jsonl").read_text().splitlines()
        assert [json.loads(line)["epoch"] for line in lines] == [row["epoch"] for row in record.curve]
        assert list(Path(storage.uri, "trackers/tensorboard", record.trial).glob("events.*"))


def test_the_resolved_spec_runs_again_as_it_is(storage, finished):
    spec = load_document(Path(storage.uri, "spec.yaml")).data
    assert spec["provenance"]["torch"]
    before = storage.get("best.json")
    command = [sys.executable, "-m", "hoir_ray", "sweep", f"{storage.uri}/spec.yaml"]
    again = subprocess.run(command, cwd=finished, capture_output=True, text=True, timeout=120, check=False)
    assert again.returncode == 0, again.stderr
    assert "started" not in again.stdout
    assert storage.get("best.json") == before


def test_another_spec_under_the_same_name_is_refused(finished, storage):
    before = {o.key: o.etag for o in storage.list()}
    outcome = subprocess.run(
        [sys.executable, "-m", "hoir_ray", "sweep", "sweep.yaml", "--set", "data.max_side=48"],
        cwd=finished,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert outcome.returncode == 2
    assert "data.max_side: was 32, is 48" in outcome.stderr
    assert {k: v for k, v in before.items() if k != "lock.json"} == {
        o.key: o.etag for o in storage.list() if o.key != "lock.json"
    }


def test_more_trials_can_be_added(tmp_path):
    write(tmp_path, SWEEP.replace("max_trials: 6", "max_trials: 2"))
    assert run(tmp_path) == 0, log_of(tmp_path)
    storage = open_storage(str(tmp_path / "store")).child("small")
    before = {r.trial: r for r in Ledger(storage).load()}
    assert run(tmp_path, "--add-trials", "2") == 0, log_of(tmp_path)
    after = {r.trial: r for r in Ledger(storage).load()}
    assert len(after) == 4
    assert {name: after[name] for name in before} == before


def wait_for(condition, *, timeout_s: float = 120.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "did not come about in time"
        time.sleep(0.2)


def held_at(gate: Gate, folder: Path) -> dict[str, str]:
    """The environment of a sweep whose trials are held at the gate."""
    return write_plan(folder / "faults.json", epochs=folder / "epochs.txt", faults=[gate.fault])


def test_one_ctrl_c_stops_in_order_and_the_same_command_goes_on(tmp_path):
    text = SWEEP.replace("{type: asha, min_iter: 1, eta: 3}", "{type: none}")
    write(tmp_path, text.replace("max_trials: 6", "max_trials: 3"))
    storage = open_storage(str(tmp_path / "store")).child("small")
    gate = Gate(tmp_path, attempts=[1])
    process = start(tmp_path, environment=held_at(gate, tmp_path))
    wait_for(gate.held)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 130, log_of(tmp_path)
    assert "resume with: hoir sweep sweep.yaml" in log_of(tmp_path)
    assert left_behind(process.pid) == []
    stopped = {r.trial: r for r in Ledger(storage).load()}
    assert any(not r.ended for r in stopped.values())

    assert run(tmp_path) == 0, log_of(tmp_path)
    resumed = {r.trial: r for r in Ledger(storage).load()}
    assert [r.state for r in resumed.values()] == ["FINISHED"] * 3
    for name, before in stopped.items():
        after = resumed[name]
        assert after.parameters == before.parameters
        assert [row["epoch"] for row in after.curve] == list(range(1, 10))
        assert after.attempt == before.attempt + (not before.ended)


def test_a_second_ctrl_c_stops_at_once(tmp_path):
    write(tmp_path)
    storage = open_storage(str(tmp_path / "store")).child("small")
    gate = Gate(tmp_path, firm=True)  # without a second one, the sweep would wait for its trials
    process = start(tmp_path, environment=held_at(gate, tmp_path))
    wait_for(gate.held)
    process.send_signal(signal.SIGINT)
    wait_for((tmp_path / "stopping").exists)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 130, log_of(tmp_path)
    wait_for(lambda: left_behind(process.pid) == [], timeout_s=20)
    assert len(Ledger(storage).load()) >= 1


def test_data_that_cannot_be_read_stops_the_sweep_before_its_first_trial(tmp_path):
    write(tmp_path, SWEEP.replace("sample:astronaut", "missing.png"))
    assert run(tmp_path) == 2
    assert "missing.png" in log_of(tmp_path)
    assert "Traceback" not in log_of(tmp_path)
    assert not (tmp_path / "store" / "small" / "ledger").exists()


def test_storage_that_cannot_be_written_is_said_first(tmp_path):
    write(tmp_path)
    (tmp_path / "store").write_text("a file where a folder should be")
    assert run(tmp_path) == 4
    assert "Traceback" not in log_of(tmp_path)


def test_trials_that_all_diverge_end_the_sweep_with_their_causes(tmp_path):
    text = SWEEP.replace("{min: 1.0e-3, max: 3.0e-2, distribution: log_uniform_values}", "{min: 90.0, max: 100.0}")
    text = text.replace("[continuous, fourier, polynomial]", "[polynomial]").replace(
        "  network.input.segments: {when: {network.layer_type: continuous}, min: 4, max: 16}\n",
        "  network.normalization: {value: none}\n  network.num_nodes: {value: 16}\n",
    )
    write(tmp_path, text)
    assert run(tmp_path) == 1, log_of(tmp_path)
    assert "became" in log_of(tmp_path)
    records = Ledger(open_storage(str(tmp_path / "store")).child("small")).load()
    # Five failures of five end the sweep, perhaps while a sixth trial is under way.
    assert [r.state for r in records].count("FAILED") >= 5
    assert all(r.attempt == 1 for r in records if r.state == "FAILED")
