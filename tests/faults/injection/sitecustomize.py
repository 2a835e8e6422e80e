# mypy: ignore-errors
"""Breaks trials on purpose: Python loads this file at the start of every process whose PYTHONPATH has this folder.

HOIR_TEST_FAULTS names a JSON file, `{"faults": [...], "epochs": file, "checkpoint_every_s": seconds}`, read when a
process trains for the first time. A fault is `{"trial", "do", "epoch", "attempts", "rank", ...}`; trial "*" means all,
and a fault without a rank breaks every worker of a trial. To the file of epochs every trained one is added.
"""

import dataclasses
import importlib.abc
import importlib.machinery
import json
import os
import signal
import socket
import sys
import time
from pathlib import Path

WORKER, DRIVER = "hoir_ray.trials.worker", "hoir_ray.sweep.driving.driver"


def hold(fault, attempt, rank):
    """Until the test opens the gate or, unless that is firm, the sweep is stopping or this process is to leave."""
    gate = Path(fault["gate"])
    held = gate / f"held-{attempt.trial}-{attempt.attempt:03d}-{rank:03d}"
    part = held.with_name(f".{held.name}")
    part.write_text(str(os.getpid()))
    part.rename(held)
    is_told = (lambda: False) if fault["firm"] else told(attempt)
    while not (gate / "open-*").exists() and not (gate / f"open-{attempt.trial}").exists() and not is_told():
        time.sleep(0.05)


def told(attempt):
    """Tells whether the sweep is stopping, or this process or its machine is about to go."""
    import ray

    from hoir_ray.cluster.preemption import preemption

    nodes = {ray.get_runtime_context().get_node_id()}
    stopping = stopping_file()
    return lambda: stopping.exists() or (attempt.workers == 1 and preemption.reason(nodes))


def stopping_file():
    """There while a sweep is stopping."""
    plan = json.loads(Path(os.environ["HOIR_TEST_FAULTS"]).read_text())
    return Path(plan["epochs"]).with_name("stopping")


def telling(module):
    """Tune cannot tell a trial that it is to stop before its next report, so that a held one looks for a file."""
    stop, file = module.Driver.stop, stopping_file()
    file.unlink(missing_ok=True)

    def stop_and_tell(self, *arguments, **options):
        stop(self, *arguments, **options)
        file.touch()

    module.Driver.stop = stop_and_tell


def break_it(fault, attempt, rank):
    do = fault["do"]
    if do == "raise":
        raise RuntimeError(fault.get("message", "injected"))
    if do == "sleep":
        time.sleep(fault["seconds"])
    elif do == "hold":
        hold(fault, attempt, rank)
    elif do == "exit":
        os._exit(3)
    elif do == "hang_python":
        while True:
            pass
    elif do == "hang_native":
        import ctypes

        ctypes.PyDLL(None).sleep(10_000)  # unlike CDLL, this keeps the interpreter's lock
    elif do == "allocate":
        import torch

        samples = attempt.config["training"]["batch_size"] if fault.get("per_sample") else 1
        torch.ones(fault["size_bytes"] * samples, dtype=torch.uint8)
    else:
        os.kill(os.getpid(), getattr(signal, do))


def faulty(module):
    plan = json.loads(Path(os.environ["HOIR_TEST_FAULTS"]).read_text())
    faults = plan["faults"]
    checkpoint_every = {name: plan[name] for name in ["checkpoint_every_s"] if name in plan}
    fit, train_worker = module.fit, module.train_worker
    present = []

    def faulty_worker(attempt, report, **options):
        present[:] = [attempt, options["worker"].rank if options else 0]
        return train_worker(attempt, report, **options)

    def faulty_fit(task, config, data, hooks, **options):
        attempt, rank = present
        mine = [
            f
            for f in faults
            if f["trial"] in ("*", attempt.trial)
            and attempt.attempt in f.get("attempts", range(1000))
            and rank == f.get("rank", rank)
        ]

        def break_or_go_on(epoch):
            for fault in mine:
                if fault.get("epoch") in (None, epoch.epoch):
                    break_it(fault, attempt, rank)
            go_on = hooks.on_epoch(epoch)
            if rank == 0:
                with Path(plan["epochs"]).open("a") as file:
                    file.write(f"{attempt.trial} {attempt.attempt} {epoch.epoch} {socket.gethostname()}\n")
            return go_on

        hooked = dataclasses.replace(hooks, on_epoch=break_or_go_on, **checkpoint_every)
        return fit(task, config, data, hooked, **options)

    module.fit, module.train_worker = faulty_fit, faulty_worker


class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name not in (WORKER, DRIVER):
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        load = spec.loader.exec_module

        def load_and_break(module):
            load(module)
            (faulty if name == WORKER else telling)(module)

        spec.loader.exec_module = load_and_break
        return spec


if os.environ.get("HOIR_TEST_FAULTS"):
    sys.meta_path.insert(0, Finder())
