# mypy: ignore-errors
"""Breaks trials on purpose: Python loads this file at the start of every process whose PYTHONPATH has this folder.

HOIR_TEST_FAULTS names a JSON file, `{"faults": [...], "epochs": file}`, read when a process trains for the first time.
A fault is `{"trial", "do", "epoch", "attempts", "rank", ...}`; trial "*" means all, and a fault without a rank breaks
every worker of a trial. To the file of epochs every trained one is added.
"""

import importlib.abc
import importlib.machinery
import json
import os
import signal
import socket
import sys
import time
from pathlib import Path

WORKER = "hoir_ray.trials.worker"


def break_it(fault, attempt):
    do = fault["do"]
    if do == "raise":
        raise RuntimeError(fault.get("message", "injected"))
    if do == "sleep":
        time.sleep(fault["seconds"])
    elif do == "wait":
        while not Path(fault["file"]).exists():
            time.sleep(0.05)
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
    train, train_worker = module.train, module.train_worker
    present = []

    def faulty_worker(attempt, report, **options):
        present[:] = [attempt, options["worker"].rank if options else 0]
        return train_worker(attempt, report, **options)

    def faulty_train(*arguments, on_epoch, **options):
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
                    break_it(fault, attempt)
            go_on = on_epoch(epoch)
            if rank == 0:
                with Path(plan["epochs"]).open("a") as file:
                    file.write(f"{attempt.trial} {attempt.attempt} {epoch.epoch} {socket.gethostname()}\n")
            return go_on

        return train(*arguments, on_epoch=break_or_go_on, **options)

    module.train, module.train_worker = faulty_train, faulty_worker


class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name != WORKER:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        load = spec.loader.exec_module

        def load_and_break(module):
            load(module)
            faulty(module)

        spec.loader.exec_module = load_and_break
        return spec


if os.environ.get("HOIR_TEST_FAULTS"):
    sys.meta_path.insert(0, Finder())
