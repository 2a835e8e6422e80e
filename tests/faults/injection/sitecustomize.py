# mypy: ignore-errors
"""Breaks trials on purpose: Python loads this file at the start of every process whose PYTHONPATH has this folder.

HOIR_TEST_FAULTS holds a JSON list of faults, each `{"trial", "do", "epoch", "attempts", ...}`; trial "*" means all.
HOIR_TEST_EPOCHS names a file to which every trained epoch is added.
"""

import importlib.abc
import importlib.machinery
import json
import os
import signal
import sys
import time
from pathlib import Path

WORKER = "hoir_ray.sweep.worker"


def break_it(fault, job):
    do = fault["do"]
    if do == "raise":
        raise RuntimeError(fault.get("message", "injected"))
    if do == "sleep":
        time.sleep(fault["seconds"])
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

        samples = job.config["training"]["batch_size"] if fault.get("per_sample") else 1
        torch.ones(fault["size_bytes"] * samples, dtype=torch.uint8)
    else:
        os.kill(os.getpid(), getattr(signal, do))


def faulty(module):
    faults = json.loads(os.environ["HOIR_TEST_FAULTS"])
    train, train_worker = module.train, module.train_worker
    present = []

    def faulty_worker(job, report):
        present[:] = [job]
        return train_worker(job, report)

    def faulty_train(*arguments, on_epoch, **options):
        job = present[0]
        mine = [f for f in faults if f["trial"] in ("*", job.trial) and job.attempt in f.get("attempts", range(1000))]

        def break_or_go_on(epoch):
            for fault in mine:
                if fault.get("epoch") in (None, epoch.epoch):
                    break_it(fault, job)
            on_epoch(epoch)
            with Path(os.environ["HOIR_TEST_EPOCHS"]).open("a") as file:
                file.write(f"{job.trial} {job.attempt} {epoch.epoch}\n")

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
