"""The real SDK against a backend on loopback: what arrives, what does not, and that training never waits for it."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from hoir_ray.errors import RequestError, WorkError
from hoir_ray.storage import LockedError, acquire_lock, open_storage
from hoir_ray.trackers import Tracker
from hoir_ray.trackers.wandb import Config, access, build, check, find_journals, run, summary_run, sync, tracker
from hoir_ray.trackers.wandb.sync import sync_sweep
from hoir_ray.trials.trackers import run_key
from tests.servers.wandb_backend import KEY, Run, WandbBackend

# W&B's own clean-up at the end of a test, not ours.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


@pytest.fixture(autouse=True)
def _fresh_process(wandb_backend: WandbBackend) -> Iterator[None]:
    """Forget what a process remembers of W&B and of what it has already said."""
    access.forget()
    tracker._told.clear()
    yield
    access.forget()


def train(directory: Path, epochs: range, *, config: Config | None = None, trial: str = "t1", run: str = "r") -> None:
    watched: Tracker = build(
        config or Config(finish_timeout_s=60),
        directory=directory,
        sweep="newt",
        trial=trial,
        run=run,
        parameters={"network.hidden.width": 8, "training.optimizer.lr": 0.1},
    )
    watched.logger.log_hyperparams({"network": {"hidden": {"width": 8, "num_layers": 2}}})
    for epoch in epochs:
        watched.logger.log_metrics({"val_psnr_db": 20.0 + epoch, "train_loss": 1 / epoch}, step=epoch)
        watched.log_images({"preview": torch.rand(4, 6, 3)}, step=epoch)
    watched.close()


def sync_elsewhere(directory: Path) -> int:
    """As `hoir sync` does: in a process of its own, since the SDK of this one may still hold the runs."""
    code = "import sys, pathlib; from hoir_ray.trackers.wandb.sync import sync; print(sync(pathlib.Path(sys.argv[1])))"
    environment = {k: v for k, v in os.environ.items() if k != "WANDB_SERVICE"}
    done = subprocess.run(
        [sys.executable, "-c", code, directory],
        env=environment,
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def the_run(backend: WandbBackend) -> Run:
    (found,) = backend.runs.values()
    return found


def test_one_run_per_trial_with_curves_config_and_pictures(wandb_backend: WandbBackend, tmp_path: Path) -> None:
    train(tmp_path, range(1, 6), config=Config(project="p", tags=("a",), finish_timeout_s=60))
    (name,) = wandb_backend.runs
    run = wandb_backend.runs[name]
    assert name.startswith("newt-t1-")
    assert (run.upsert["project"], run.upsert["groupName"], run.upsert["displayName"]) == ("p", "newt", "t1")
    assert [row["epoch"] for row in run.history] == [row["_step"] for row in run.history] == [1, 2, 3, 4, 5]
    assert [row["val_psnr_db"] for row in run.history] == [21, 22, 23, 24, 25]
    assert run.config["network"] == {"hidden": {"width": 8, "num_layers": 2}}
    assert run.config["training"] == {"optimizer": {"lr": 0.1}}
    assert run.summary["val_psnr_db"] == 25
    assert run.exit_code == 0
    pictures = [f for f in run.files if f.startswith("media/images/pictures/preview")]
    assert len(pictures) == 2, "the first at once, and the newest at the end"
    assert all(run.files[f].startswith(b"\x89PNG") for f in pictures)
    assert find_journals(tmp_path) == []


def test_resumed_trial_goes_on_in_its_run_without_a_step_twice(wandb_backend: WandbBackend, tmp_path: Path) -> None:
    train(tmp_path / "first host", range(1, 6))
    train(tmp_path / "second host", range(4, 9))
    run = the_run(wandb_backend)
    assert [row["_step"] for row in run.history] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert run.summary["epoch"] == 8


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ({"status": 401}, "refused the key (401)"),
        ({"status": 500}, "answered 500"),
        ({"hang_s": 60.0}, "cannot be reached, or did not answer within 5 s"),
    ],
)
def test_refusing_wandb_means_offline_one_line_and_sync_later(
    wandb_backend: WandbBackend,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    fault: dict[str, float],
    reason: str,
) -> None:
    config = Config(finish_timeout_s=30)
    with wandb_backend.faulty(status=int(fault.get("status", 200)), hang_s=fault.get("hang_s", 0.0)):
        train(tmp_path, range(1, 4), config=config)
        train(tmp_path, range(1, 4), config=config, trial="t2")
        with pytest.raises(RequestError, match="W&B: http"):
            access_refused(tmp_path)
    lines = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING and "W&B" in r.getMessage()]
    assert len(lines) == 1
    assert reason in lines[0]
    assert "`hoir sync` sends them" in lines[0]
    assert wandb_backend.runs == {}
    assert len(find_journals(tmp_path)) == 2
    assert sync(tmp_path) == 2
    assert [[row["_step"] for row in run.history] for run in wandb_backend.runs.values()] == [[1, 2, 3]] * 2
    assert sync(tmp_path) == 0
    assert_no_key(tmp_path, caplog)


def access_refused(directory: Path) -> None:
    """`sync` without the patience that it has for a slow network."""
    access.forget()
    found = access.find_access(Config(), timeout_s=1.0)
    assert found.mode == "offline"
    raise RequestError(f"W&B: {found.reason}")


def test_nobody_listening(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    train(tmp_path, range(1, 4))
    assert "http://127.0.0.1:9 cannot be reached" in caplog.text
    assert len(find_journals(tmp_path)) == 1
    with pytest.raises(RequestError, match="cannot be reached"):
        sync(tmp_path)


def test_no_key_means_offline_without_a_question(
    wandb_backend: WandbBackend, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("WANDB_API_KEY")
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    check(Config())
    train(tmp_path, range(1, 4))
    (line,) = [r.getMessage() for r in caplog.records if "W&B" in r.getMessage()]
    assert f"no key for {wandb_backend.url}; set WANDB_API_KEY or run `wandb login`" in line
    assert wandb_backend.log == []
    assert len(find_journals(tmp_path)) == 1


def test_login_of_the_command_line_is_found(
    wandb_backend: WandbBackend, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("WANDB_API_KEY")
    file = tmp_path / "netrc"
    file.write_text(f"machine {wandb_backend.url.removeprefix('http://')}\n  login user\n  password {KEY}\n")
    file.chmod(0o600)
    monkeypatch.setenv("NETRC", str(file))
    train(tmp_path, range(1, 4))
    assert len(the_run(wandb_backend).history) == 3


def test_start_that_hangs_after_the_question_was_answered(
    wandb_backend: WandbBackend, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(run, "INIT_TIMEOUT_S", 1.0)
    with wandb_backend.faulty("RunResumeStatus|UpsertBucket", hang_s=60):
        train(tmp_path, range(1, 4))
    assert sync_elsewhere(tmp_path) == 1
    assert [row["_step"] for row in the_run(wandb_backend).history] == [1, 2, 3]


def test_hang_midway_keeps_everything_for_later(
    wandb_backend: WandbBackend, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with wandb_backend.faulty("file_stream", hang_s=60):
        train(tmp_path, range(1, 6), config=Config(finish_timeout_s=8))
    assert "W&B: not everything was sent within 8 s" in caplog.text
    assert the_run(wandb_backend).history == []
    shutil.copytree(tmp_path, tmp_path / "copy")  # as it comes back from storage
    assert sync_elsewhere(tmp_path / "copy") == 1
    assert [row["_step"] for row in the_run(wandb_backend).history] == [1, 2, 3, 4, 5]
    assert sync_elsewhere(tmp_path / "copy") == 0


@pytest.mark.slow
def test_process_ends_while_wandb_hangs_and_its_run_is_sent_later(wandb_backend: WandbBackend, tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
from hoir_ray.trackers.wandb import Config, build, find_journals

folder = Path(sys.argv[1])
watched = build(Config(finish_timeout_s=3), directory=folder, sweep="s", trial="t", run="r", parameters={})
for epoch in range(1, 6):
    watched.logger.log_metrics({"v": 1.0 * epoch}, step=epoch)
watched.close()
print("trained")
"""
    with wandb_backend.faulty("file_stream", hang_s=200):
        environment = {k: v for k, v in os.environ.items() if k != "WANDB_SERVICE"}
        done = subprocess.run(
            [sys.executable, "-c", code, tmp_path],
            env=environment,
            capture_output=True,
            text=True,
            timeout=250,
            check=False,
        )
    assert (done.returncode, done.stdout) == (0, "trained\n")
    assert KEY not in done.stderr
    assert sync_elsewhere(tmp_path) == 1
    assert [row["_step"] for row in the_run(wandb_backend).history] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("status", [401, 404, 500])
def test_what_wandb_gives_up_midway_is_kept_for_later(
    wandb_backend: WandbBackend, tmp_path: Path, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    with wandb_backend.faulty("file_stream", status=status):
        train(tmp_path, range(1, 6), config=Config(finish_timeout_s=15))
    assert "not everything" in caplog.text
    assert the_run(wandb_backend).history == []
    assert sync_elsewhere(tmp_path) == 1
    assert [row["_step"] for row in the_run(wandb_backend).history] == [1, 2, 3, 4, 5]
    assert [f for f in the_run(wandb_backend).files if f.startswith("media/images/pictures/preview")]
    assert list((tmp_path / "wandb").iterdir()) == []


def test_wandb_dead_at_the_end(wandb_backend: WandbBackend, tmp_path: Path) -> None:
    watched = build(Config(finish_timeout_s=8), directory=tmp_path, sweep="newt", trial="t1", run="r", parameters={})
    watched.logger.log_metrics({"v": 1.0}, step=1)
    while not wandb_backend.runs:
        time.sleep(0.1)
    with wandb_backend.faulty(hang_s=60):
        watched.logger.log_metrics({"v": 2.0}, step=2)
        began = time.monotonic()
        watched.close()
        assert time.monotonic() - began < 9
    assert sync_elsewhere(tmp_path) == 1
    assert [row["_step"] for row in the_run(wandb_backend).history] == [1, 2]


def test_parts_recorded_offline_become_one_run(wandb_backend: WandbBackend, tmp_path: Path) -> None:
    train(tmp_path, range(1, 4), config=Config(mode="offline"))
    train(tmp_path, range(3, 6), config=Config(mode="offline"))
    assert wandb_backend.log == []
    assert sync(tmp_path) == 1
    assert [row["_step"] for row in the_run(wandb_backend).history] == [1, 2, 3, 4, 5]


def test_a_killed_trials_last_line_may_be_half(wandb_backend: WandbBackend, tmp_path: Path) -> None:
    train(tmp_path, range(1, 4), config=Config(mode="offline"))
    (rows,) = tmp_path.rglob("rows.jsonl")
    rows.write_text(rows.read_text()[:-9])
    train(tmp_path, range(2, 6), config=Config(mode="offline"))
    assert sync(tmp_path) == 1
    assert [row["val_psnr_db"] for row in the_run(wandb_backend).history] == [21, 22, 23, 24, 25]


def test_sync_that_wandb_refuses_says_so_and_can_be_repeated(wandb_backend: WandbBackend, tmp_path: Path) -> None:
    train(tmp_path, range(1, 4), config=Config(mode="offline"))
    with wandb_backend.faulty("file_stream", status=401), pytest.raises(WorkError, match="did not take 1 of 1 runs"):
        sync(tmp_path)
    assert sync(tmp_path) == 1
    assert [row["_step"] for row in the_run(wandb_backend).history] == [1, 2, 3]
    with pytest.raises(RequestError, match="is not a folder"):
        sync(tmp_path / "none")


def test_disabled_does_nothing(wandb_backend: WandbBackend, tmp_path: Path) -> None:
    train(tmp_path, range(1, 4), config=Config(mode="disabled"))
    assert wandb_backend.log == []
    assert list(tmp_path.iterdir()) == []


def test_sweep_has_a_run_with_all_its_trials(wandb_backend: WandbBackend, tmp_path: Path) -> None:
    summary_run(
        Config(finish_timeout_s=60),
        directory=tmp_path,
        sweep="newt",
        run="r",
        trials=[{"trial": "t1", "val_psnr_db": 30.0}, {"trial": "t2", "val_psnr_db": 20.0, "reason": ["pruned"]}],
        best="t1",
        front=["t1"],
        packs={"t1": "s3://bucket/newt/models/t1"},
    )
    run = the_run(wandb_backend)
    assert run.upsert["groupName"] == "newt"
    assert run.summary["best/val_psnr_db"] == 30.0
    assert run.summary["best/pack"] == "s3://bucket/newt/models/t1"
    (table,) = [run.files[f].decode() for f in run.files if f.startswith("media/table/trials")]
    assert '["t1",30.0,true,"s3://bucket/newt/models/t1",null]' in table
    assert "t2" in table
    (models,) = [a for name, a in wandb_backend.artifacts.items() if name.endswith("-models")]
    assert (models.type, models.is_committed) == ("model", True)
    assert {name: entry["ref"] for name, entry in models.entries.items()} == {"t1": "s3://bucket/newt/models/t1"}


def test_packs_in_a_folder_are_referred_to_file_by_file(wandb_backend: WandbBackend, tmp_path: Path) -> None:
    pack = tmp_path / "runs" / "models" / "t1"
    pack.mkdir(parents=True)
    (pack / "config.json").write_text("{}")
    packs = {"t1": str(pack), "t2": str(pack.with_name("gone"))}
    rows = [{"trial": "t1", "v": 1.0}, {"trial": "t2", "v": 2.0}]
    with wandb_backend.faulty(status=500):
        summary_run(
            Config(), directory=tmp_path, sweep="newt", run="r", trials=rows, best="t1", front=["t1", "t2"], packs=packs
        )
    assert sync(tmp_path) == 1
    (models,) = [a for name, a in wandb_backend.artifacts.items() if name.endswith("-models")]
    assert {name: entry["ref"] for name, entry in models.entries.items()} == {
        "t1/config.json": (pack / "config.json").as_uri()
    }


def test_same_names_in_two_sweeps_are_two_runs(wandb_backend: WandbBackend, tmp_path: Path) -> None:
    train(tmp_path / "mine", range(1, 6), run="mine")
    train(tmp_path / "yours", range(1, 4), run="yours")
    assert sorted(len(run.history) for run in wandb_backend.runs.values()) == [3, 5]


@pytest.mark.parametrize(
    "launcher",
    [
        {"WANDB_SWEEP_ID": "abc123", "WANDB_RUN_ID": "theirs", "WANDB_PROJECT": "other"},
        {"WANDB_RUN_ID": "theirs", "WANDB_RESUME": "must", "WANDB_NAME": "n", "WANDB_RUN_GROUP": "g"},
        {
            "WANDB_LAUNCH": "true",
            "WANDB_CONFIG": '{"sweep": "x"}',
            "WANDB_JOB_TYPE": "j",
            "WANDB_FORK_FROM": "a?_step=1",
        },
        {"TRAINING_JOB_NAME": "sagemaker", "SM_TRAINING_ENV": "{}", "CURRENT_HOST": "algo-1"},
    ],
)
def test_a_launchers_variables_name_no_run(
    wandb_backend: WandbBackend, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, launcher: dict[str, str]
) -> None:
    for name, value in launcher.items():
        monkeypatch.setenv(name, value)
    for trial in ("t1", "t2"):
        train(tmp_path, range(1, 3), trial=trial)
    assert sorted(run.upsert["displayName"] for run in wandb_backend.runs.values()) == ["t1", "t2"]
    for name, found in wandb_backend.runs.items():
        assert name.startswith("newt-t")
        assert (found.upsert["project"], found.upsert["groupName"]) == ("hoir", "newt")
        assert found.config["sweep"] == "newt"
        assert len(found.history) == 2
    assert {name: os.environ[name] for name in launcher} == launcher


def test_a_run_that_is_being_recorded_is_not_synchronised(wandb_backend: WandbBackend, tmp_path: Path) -> None:
    train(tmp_path, range(1, 4), config=Config(mode="offline"), trial="ended")
    watched = build(Config(mode="offline"), directory=tmp_path, sweep="s", trial="t", run="r", parameters={})
    watched.logger.log_metrics({"v": 1.0}, step=1)
    with pytest.raises(RequestError, match="1 of 2 runs are still being recorded or sent by another process"):
        sync(tmp_path)
    watched.logger.log_metrics({"v": 2.0}, step=2)
    watched.close()
    assert [j.run["name"] for j in find_journals(tmp_path)] == ["t"]
    assert sync(tmp_path) == 1
    assert sorted(len(run.history) for run in wandb_backend.runs.values()) == [2, 3]


def test_a_running_sweep_is_not_synchronised(wandb_backend: WandbBackend, tmp_path: Path) -> None:
    storage = open_storage(str(tmp_path))
    storage.put("spec.yaml", b"name: newt")
    train(tmp_path / "trackers", range(1, 4), config=Config(mode="offline"))
    with acquire_lock(storage, owner="ada@lab"), pytest.raises(LockedError, match=r"ada@lab.*sync when it has ended"):
        sync_sweep(storage)
    assert sync_sweep(storage) == 1
    assert len(the_run(wandb_backend).history) == 3


def test_a_sweep_begun_again_under_its_name_has_other_runs(tmp_path: Path) -> None:
    first, second, copied = (open_storage(str(tmp_path / name)) for name in ("first", "second", "copied"))
    key = run_key(first)
    shutil.copytree(tmp_path / "first", tmp_path / "copied")
    assert run_key(first) == key
    assert len({key, run_key(second), run_key(copied)}) == 3


def test_key_is_found_nowhere(wandb_backend: WandbBackend, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    train(tmp_path, range(1, 3))
    assert len(the_run(wandb_backend).history) == 2
    assert_no_key(tmp_path, caplog)


def assert_no_key(directory: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert KEY not in caplog.text
    assert [p for p in directory.rglob("*") if p.is_file() and KEY.encode() in p.read_bytes()] == []
