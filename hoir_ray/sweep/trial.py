"""A trial as Ray Tune runs it: Ray Train inside a warm process, or spread over a group of workers."""

from __future__ import annotations

import json
import traceback
from typing import Any

from hoir_ray.errors import DivergedError, HoirError, StorageError
from hoir_ray.sweep.job import Job
from hoir_ray.sweep.limits import is_out_of_memory

JOB_KEY = "job"
MESSAGE = "message"  # one JSON text per report, so that nothing of ours mixes with Tune's own keys


def run_trial(config: dict[str, Any]) -> None:
    """Tune's function trainable. What goes wrong inside is reported, so that the process stays warm for the next."""
    from ray import tune

    job = Job.model_validate(config[JOB_KEY])

    def report(message: dict[str, Any]) -> None:
        tune.report({MESSAGE: json.dumps({"trial": job.trial, **message})})

    try:
        _fit(job, report=report)
    except StorageError as error:
        report({"storage": str(error)})
    except HoirError as error:
        again = not isinstance(error, DivergedError) and error.exit_code != 2
        report({"failed": str(error), "retry": again, "state": "FAILED", "error": None})
    except Exception as error:
        report(_broken(error, job))


def _broken(error: Exception, job: Job) -> dict[str, Any]:
    first_line = str(error).splitlines()[0] if str(error) else "no message"
    reason, state = f"{type(error).__name__}: {first_line}", "FAILED"
    batch_size = job.config["training"]["batch_size"]
    if is_out_of_memory(error):
        limit = f" of failures.memory_limit {job.memory_limit / 2**20:,.0f} MiB" if job.memory_limit else ""
        reason, state = f"out of memory{limit} with batch size {batch_size} ({first_line[:200]})", "OOM"
    trace = traceback.format_exc(limit=-12)
    return {"failed": reason, "retry": True, "state": state, "error": trace, "batch_size": batch_size}


def _fit(job: Job, *, report: Any) -> None:
    from ray.train import ScalingConfig
    from ray.train.torch import TorchTrainer

    from hoir_ray.sweep.worker import train_worker

    TorchTrainer(
        lambda: train_worker(job, report),
        # Zero workers is Ray Train's local mode: the loop runs in this warm process, a tenth of a second to start.
        scaling_config=ScalingConfig(num_workers=0),
    ).fit()
