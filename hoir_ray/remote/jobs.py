"""The jobs of a Ray cluster as sweeps, by their names: found, followed and stopped over the Jobs API."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from hoir_ray.config import nearest
from hoir_ray.errors import HoirError, RequestError, StorageError, WorkError
from hoir_ray.machine.addresses import s3_endpoint
from hoir_ray.remote.client import MAX_ANSWER_BYTES
from hoir_ray.results.sweep_results import SweepResults, open_sweep
from hoir_ray.storage import open_storage

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

# A job's metadata, readable by anyone who can reach the cluster.
SWEEP, STORAGE, ENDPOINT, OWNER, SPEC_DIGEST, SETTINGS_DIGEST = (
    f"hoir_{name}" for name in ("sweep", "storage", "endpoint_url", "owner", "spec", "settings")
)
LIVE = frozenset({"PENDING", "RUNNING"})
STOPPED_EXIT_CODE = 130  # as a sweep ends that is told to stop
POLL_S = 0.5
RESULTS_S = 20.0  # storage itself is tried for minutes
MAX_DIGITS = 10  # of a submission's number
RECONNECT_S = 60.0  # for which the cluster may be out of reach while a log is followed


@dataclass(frozen=True)
class SweepJob:
    """One of Ray's jobs that runs, or ran, a sweep's driver.

    Attributes:
        state: PENDING, RUNNING, STOPPED, SUCCEEDED or FAILED, in Ray's words.
        message: What Ray says of it.
        storage: The storage's address, in which the sweep is a folder of its name.
    """

    sweep: str
    number: int
    submission_id: str
    state: str
    message: str
    storage: str
    endpoint_url: str | None
    owner: str
    started_at: datetime | None
    ended_at: datetime | None
    spec_digest: str
    settings_digest: str
    driver_exit_code: int | None

    @property
    def is_live(self) -> bool:
        return self.state in LIVE

    @property
    def exit_code(self) -> int:
        """The sweep's own, where Ray knows it."""
        if self.state == "STOPPED":
            return STOPPED_EXIT_CODE
        return 0 if self.state == "SUCCEEDED" else self.driver_exit_code or 1


def submission_id(sweep: str, number: int) -> str:
    """Ray takes each one once, so of two submissions at the same moment one fails."""
    return f"hoir-{sweep}-{number}"


class Jobs:
    """The sweeps' jobs of the cluster at an address, over Ray's client for it."""

    def __init__(self, client: JobSubmissionClient, *, address: str) -> None:
        self.client, self.address = client, address

    def all(self) -> list[SweepJob]:
        """List the jobs of all sweeps that this cluster remembers, the newest first."""
        with reached(self.address):
            details = self.client.list_jobs()
            jobs = [_sweep_job(d) for d in details if (d.metadata or {}).get(SWEEP) and d.submission_id]
        return sorted(
            jobs, key=lambda job: (job.started_at or datetime.max.replace(tzinfo=UTC), job.number), reverse=True
        )

    def newest(self) -> list[SweepJob]:
        """The last job of each sweep, the newest first."""
        found: dict[str, SweepJob] = {}
        for job in self.all():
            found.setdefault(job.sweep, job)
        return list(found.values())

    def find(self, sweep: str) -> SweepJob:
        """The last job of the sweep.

        Raises:
            RequestError: If the cluster knows none, naming the nearest.
        """
        newest = {job.sweep: job for job in self.newest()}
        if sweep not in newest:
            shown = f" Sweeps there: {', '.join(sorted(newest)[:10])}" if newest else " It has no sweep at all."
            raise RequestError(
                f"the cluster at {self.address} knows no sweep '{sweep}'.{nearest(sweep, newest)}{shown}"
            )
        return newest[sweep]

    def refresh(self, job: SweepJob) -> SweepJob:
        """The job as it is now."""
        with reached(self.address):
            return _sweep_job(self.client.get_job_info(job.submission_id))

    def logs(self, job: SweepJob) -> str:
        """Return the driver's output so far."""
        with reached(self.address):
            return str(self.client.get_job_logs(job.submission_id))

    def follow(self, job: SweepJob, *, write: Callable[[str], object]) -> SweepJob:
        """Write the driver's log as it grows, until the job ends; through lost connections too.

        Raises:
            WorkError: If the cluster stays out of reach, or its log is longer than `logs` reads. The sweep is not
                touched by that.
        """
        written, lost_since = 0, None
        while True:
            try:
                with contextlib.closing(self._tail(job, skip=written)) as texts:
                    for text in texts:
                        if text:
                            written += len(text)
                            lost_since = None
                            write(text)
                            _refuse_longer(written, self.address)
                        elif not (job := self.refresh(job)).is_live:
                            return job
                job = self.refresh(job)
                if not job.is_live:
                    return job
            except WorkError as error:
                lost_since = lost_since or time.monotonic()
                if time.monotonic() - lost_since > RECONNECT_S or written > MAX_ANSWER_BYTES:
                    raise WorkError(f"{error}; the sweep continues without being watched") from None
            time.sleep(POLL_S)

    def _tail(self, job: SweepJob, *, skip: int) -> Generator[str]:
        """The log from its character `skip` on, with an empty text after a silence.

        Ends with the job or with the connection.
        """
        lines: Any = self.client.tail_job_logs(job.submission_id)

        async def next_text() -> str | None:
            return await anext(lines, None)

        with reached(self.address), asyncio.Runner() as runner:
            try:
                while (text := runner.run(next_text())) is not None:
                    if not text or skip < len(text):
                        yield text[skip:]
                    skip = max(0, skip - len(text))
            finally:
                runner.run(lines.aclose())

    def stop(self, job: SweepJob, *, show: Callable[[float], object]) -> SweepJob:
        """Have the driver stop in order and wait until it has.

        Args:
            show: Told again and again for how many seconds it has been stopping.
        """
        began = time.monotonic()
        while job.is_live:
            with reached(self.address):  # asked again, because a job that Ray has not started yet does not hear it
                self.client.stop_job(job.submission_id)
            show(time.monotonic() - began)
            time.sleep(POLL_S)
            job = self.refresh(job)
        return job


def open_results(jobs: Sequence[SweepJob], *, endpoint_url: str | None = None) -> list[SweepResults | HoirError]:
    """Each job's sweep in its storage, or why it cannot be seen from here; all are asked at once, and not for long."""
    found: dict[str, SweepResults | HoirError] = {}

    def look(job: SweepJob) -> None:
        try:
            endpoint = _trusted_endpoint(job, named=endpoint_url)
            storage = open_storage(job.storage, endpoint_url=endpoint).child(job.sweep)
            found[job.submission_id] = open_sweep(storage)
        except HoirError as error:
            found[job.submission_id] = error

    threads = [threading.Thread(target=look, args=[job], daemon=True) for job in jobs]
    for thread in threads:
        thread.start()
    end = time.monotonic() + RESULTS_S
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    late = StorageError(f"the storage did not answer within {RESULTS_S:g} s")
    return [found.get(job.submission_id, late) for job in jobs]


def _trusted_endpoint(job: SweepJob, *, named: str | None) -> str | None:
    """The job's S3 server, when the user names it too: what a cluster says must not be sent signed requests.

    Args:
        named: By a flag; the environment may name it as well.

    Raises:
        RequestError: If nobody but the cluster names it.
    """
    if not job.storage.startswith("s3://") or job.endpoint_url is None:
        return None
    known = [url.rstrip("/") for url in (named, s3_endpoint()) if url]
    if job.endpoint_url.rstrip("/") not in known:
        raise RequestError(
            f"the cluster says that {job.storage} is at {job.endpoint_url}; credentials are only sent to a server that "
            f"is named here, by --endpoint-url or AWS_ENDPOINT_URL"
        )
    return job.endpoint_url


@contextlib.contextmanager
def reached(address: str) -> Iterator[None]:
    """Ray's and the network's errors as ours.

    Raises:
        WorkError: If the cluster could be reached before and cannot now, or did not do what it was asked for.
    """
    import aiohttp
    from ray.exceptions import RayError

    try:
        yield
    except (OSError, aiohttp.ClientError) as error:
        raise WorkError(f"{address}: the connection was lost: {_last_line(error)}") from None
    except (RuntimeError, RayError) as error:
        raise WorkError(f"{address}: Ray did not do it: {_last_line(error)}") from None
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError) as error:
        raise WorkError(f"{address}: what it answers is not Ray's: {_last_line(error)}") from None


def _refuse_longer(num_characters: int, address: str) -> None:
    if num_characters > MAX_ANSWER_BYTES:
        raise WorkError(f"{address}: the log is longer than {MAX_ANSWER_BYTES:,} characters, the most that is read")


def _last_line(error: Exception) -> str:
    """Return the last line of the traceback that Ray answers with."""
    lines = [line.strip(" .") for line in str(error).splitlines() if line.strip(" .")]
    return lines[-1][:300] if lines else type(error).__name__


def _sweep_job(details: Any) -> SweepJob:
    metadata = details.metadata or {}
    name = metadata.get(SWEEP, "")
    number = details.submission_id.removeprefix(f"hoir-{name}-")
    return SweepJob(
        sweep=name,
        number=int(number) if number.isdecimal() and len(number) < MAX_DIGITS else 0,
        submission_id=details.submission_id,
        state=str(details.status),
        message=details.message or "",
        storage=metadata.get(STORAGE, ""),
        endpoint_url=metadata.get(ENDPOINT) or None,
        owner=metadata.get(OWNER, ""),
        started_at=_moment(details.start_time),
        ended_at=_moment(details.end_time),
        spec_digest=metadata.get(SPEC_DIGEST, ""),
        settings_digest=metadata.get(SETTINGS_DIGEST, ""),
        driver_exit_code=details.driver_exit_code,
    )


def _moment(milliseconds: int | None) -> datetime | None:
    return datetime.fromtimestamp(milliseconds / 1000, tz=UTC) if milliseconds else None
