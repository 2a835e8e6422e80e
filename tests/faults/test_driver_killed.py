"""The driver killed again and again: nothing that was finished is trained again, and hardly anything else is."""

from __future__ import annotations

import os
import pickle
import random
import signal
import time
from pathlib import Path

import pytest

from hoir_ray.results.record import TrialRecord
from hoir_ray.storage import Storage
from tests.faults.gates import Gate
from tests.faults.invariants import check_invariants
from tests.faults.sweeps import TEXT, Sweep, stop_at_once
from tests.servers.seaweedfs import OWNER, SeaweedFS

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]


class Bomb:
    """Runs a command when it is unpickled."""

    def __init__(self, sign: Path) -> None:
        self.sign = sign

    def __reduce__(self):
        return os.system, (f"touch {self.sign}",)


def test_killed_drivers_lose_nothing(tmp_path: Path, s3_server: SeaweedFS, s3_bucket: str) -> None:
    gate = Gate(tmp_path, epoch=4)
    sweep = Sweep(
        tmp_path,
        storage=f"s3://{s3_bucket}/sweeps",
        endpoint_url=s3_server.endpoint_url,
        text=TEXT.replace("max_trials: 4", "max_trials: 12"),
        faults=[gate.fault],
        checkpoint_every_s=0,
    )
    chance = random.Random(20)
    finished: dict[str, TrialRecord] = {}
    kept: dict[tuple[str, int], int] = {}

    gate.open("t0001")
    for event in (" FINISHED", "starting Ray", " started", " FINISHED", " started"):
        _start_and_kill(sweep, event=event, then_s=chance.uniform(0, 2))
        finished = _check_between(sweep, finished, kept)
        gate.open("t0002")
        _plant_bombs(sweep.opened().storage, tmp_path / "exploded")
    broken = _damage_newest_checkpoint(sweep)

    process = sweep.start()
    sweep.wait_for(" started", process=process, after=len(sweep.log))
    (head,) = sweep.processes(named="gcs_server")
    head.kill()
    assert process.wait(timeout=90) != 0
    finished = _check_between(sweep, finished, kept)

    process = sweep.start()
    sweep.wait_for(" started", process=process, after=len(sweep.log))
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 130, sweep.log
    finished = _check_between(sweep, finished, kept)
    gate.open()
    assert {r.state for r in sweep.opened().records} <= {"FINISHED", "PENDING"}

    code = sweep.run()
    records = check_invariants(sweep, num_trials=12, exit_code=code, secrets=[OWNER.secret_key])
    assert code == 0
    _check_between(sweep, finished, kept)
    assert {r.state for r in records.values()} == {"FINISHED"}
    if broken is not None:
        assert any("passed over" in line for line in records[broken].history), records[broken].history
    _check_resumed_epochs(sweep, kept, unless=broken)
    assert not (tmp_path / "exploded").exists()
    assert sweep.run() == 0, "a finished sweep has nothing left to do"


def _start_and_kill(sweep: Sweep, *, event: str, then_s: float) -> None:
    before = len(sweep.log)
    process = sweep.start()
    sweep.wait_for(event, process=process, after=before)
    time.sleep(then_s)
    stop_at_once(process)


def _check_between(
    sweep: Sweep, finished: dict[str, TrialRecord], kept: dict[tuple[str, int], int]
) -> dict[str, TrialRecord]:
    """Nothing of Ray is left, and what was finished before is as it was; returns what is finished now.

    Args:
        kept: Gets the epoch of each trial's newest checkpoint, by the trial and its latest attempt that trained.
    """
    assert sweep.left_behind() == []
    for trial, attempt in dict(sorted(sweep.epochs())).items():  # the latest
        kept[trial, attempt] = max(sweep.checkpoints(trial), default=0)
    now = {r.trial: r for r in sweep.opened().records}
    for name, record in finished.items():
        assert now[name] == record
    return {name: r for name, r in now.items() if r.ended}


def _check_resumed_epochs(sweep: Sweep, kept: dict[tuple[str, int], int], *, unless: str | None) -> None:
    """Each attempt resumes right after the newest checkpoint that the one before it left whole in storage."""
    epochs, last = sweep.epochs(), {}
    for (trial, attempt), trained in sorted(epochs.items()):
        assert trained == list(range(trained[0], trained[-1] + 1))
        if trial in last and trial != unless:
            assert trained[0] == kept[trial, last[trial]] + 1, (trial, epochs, kept)
        last[trial] = attempt
    assert max(last.values()) > 2, "or nothing was resumed"


def _plant_bombs(storage: Storage, sign: Path) -> None:
    """Plant files that somebody with write access could leave for a careless reader."""
    bomb = pickle.dumps(Bomb(sign))
    for key in ("tuner.pkl", "trainable.pkl", "experiment_state-2026-01-01_00-00-00.json", "searcher-state.pkl"):
        storage.put(key, bomb)


def _damage_newest_checkpoint(sweep: Sweep) -> str | None:
    """Flip a bit in the newest checkpoint of a trial that is to go on and has two; its name, if there is one."""
    storage = sweep.opened().storage
    for record in sweep.opened().records:
        folder = f"trials/{record.trial}/checkpoints"
        names = sorted({o.key.split("/")[3] for o in storage.list(folder) if o.key.endswith("manifest.json")})
        if not record.ended and len(names) > 1:
            key = f"{folder}/{names[-1]}/last.ckpt"
            data = bytearray(storage.get(key))
            data[len(data) // 2] ^= 1
            storage.put(key, bytes(data))
            return record.trial
    return None
