"""Time from `hoir sweep` to its first trained epoch, and processor time of a worker's imports.

    python benchmarks/startup.py [--rounds 5] [--quick]

"As libraries come" is the same without what this project leaves out: `torch._dynamo` and `scipy.signal` are imported,
and Ray starts all of its processes. "Ray and Lightning alone" is the floor: a script that starts Ray as we do without
leaving anything out, and imports torch, Lightning and what Ray Tune and Ray Train need in a process of Ray's. The
rounds alternate, since ratios hold on a busy machine and seconds do not.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Loaded by every Python process that has its folder on its path, those of Ray included.
AS_LIBRARIES_COME = """\
import contextlib
import hoir_ray.cluster.local_ray
import hoir_ray.machine.deferred
hoir_ray.cluster.local_ray.few_processes = contextlib.nullcontext
hoir_ray.machine.deferred.defer = lambda: None
"""
BARE_SWEEP = """\
import ray, sys, pathlib
from ray import tune
ray.init(address="local", include_dashboard=False, log_to_driver=False, num_cpus=2)

@ray.remote
def first():
    import lightning.pytorch, ray.train.torch, ray.tune

ray.get(first.remote())
pathlib.Path(sys.argv[1]).touch()
ray.shutdown()
"""
WORKER = "import ray.tune, ray.train.torch, hoir_ray.trials.trainable, hoir_ray.trials.worker"
BARE_WORKER = "import ray.tune, ray.train.torch, lightning.pytorch"
TORCH = "import torch"
TIMED = "import time; began = time.process_time(); {code}; print(time.process_time() - began)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="one round")
    arguments = parser.parse_args()
    rounds = 1 if arguments.quick else arguments.rounds
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "sitecustomize.py").write_text(AS_LIBRARIES_COME)
        come = str(folder)
        show(
            "A worker's imports, seconds of its processor",
            {
                "ours": lambda: imports(WORKER),
                "as libraries come": lambda: imports(WORKER, path=come),
                "Ray and Lightning alone": lambda: imports(BARE_WORKER),
                "torch alone": lambda: imports(TORCH),
            },
            rounds=rounds,
        )
        show(
            "From the command to the first epoch of the first trial, seconds",
            {
                "ours": first_epoch,
                "as libraries come": lambda: first_epoch(path=come),
                "Ray and Lightning alone": bare_sweep,
            },
            rounds=rounds,
        )


def show(title: str, ways: dict[str, Callable[[], float]], *, rounds: int) -> None:
    """A row for each way: the median, and its ratio to ours, the median of the rounds' ratios."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, measure in ways.items():
            found[name].append(measure())
    print(f"\n{title}, {rounds} round(s)\n{'':<26}{'median':>8}{'ours / it':>12}")
    for name, values in found.items():
        ratio = statistics.median(ours / it for ours, it in zip(found["ours"], values, strict=True))
        print(f"{name:<26}{statistics.median(values):>8.2f}{ratio:>12.2f}")


def imports(code: str, *, path: str = "") -> float:
    """Seconds of the processor that the imports take in a fresh process."""
    command = [sys.executable, "-c", TIMED.format(code=code)]
    ran = subprocess.run(command, env=environment(path), capture_output=True, text=True, check=True)
    return float(ran.stdout)


def first_epoch(*, path: str = "") -> float:
    """Seconds from `hoir sweep` to the first line in the first trial's metrics."""
    with tempfile.TemporaryDirectory() as folder:
        cut = ["budget.max_trials=2", "training.max_epochs=1", "early_terminate={type: none}"]  # to end soon after
        settings = [f"--set={text}" for text in [*cut, f"storage.uri={folder}/runs"]]
        command = [sys.executable, "-m", "hoir_ray", "sweep", str(ROOT / "sweeps" / "quickstart.yaml"), *settings]
        return seconds_until(
            lambda: any(Path(folder).glob("runs/quickstart/trackers/jsonl/*/metrics.jsonl")),
            command,
            folder=folder,
            path=path,
        )


def bare_sweep() -> float:
    """Seconds until Ray runs and one of its processes has imported what any trial needs."""
    with tempfile.TemporaryDirectory() as folder:
        done = Path(folder, "done")
        return seconds_until(done.exists, [sys.executable, "-c", BARE_SWEEP, str(done)], folder=folder)


def seconds_until(condition: Callable[[], bool], command: list[str], *, folder: str, path: str = "") -> float:
    """From the command's start; it is waited for, so that the next measurement has the machine."""
    log = Path(folder, "log")
    with log.open("wb") as file:
        began = time.monotonic()
        process = subprocess.Popen(command, cwd=folder, env=environment(path), stdout=file, stderr=file)
        while not condition():
            if process.poll() is not None and not condition():
                raise RuntimeError(log.read_text())
            time.sleep(0.02)
        took = time.monotonic() - began
        process.wait()
    return took


def environment(path: str) -> dict[str, str]:
    """This process's, with the checkout importable and one thread for each process."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [path, str(ROOT)])), "OMP_NUM_THREADS": "1"}


if __name__ == "__main__":
    main()
