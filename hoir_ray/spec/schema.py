"""The sweep YAML as frozen models: what to represent, what to search, with which resources and budget."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from hoir_ray.config import Config
from hoir_ray.errors import RequestError
from hoir_ray.machine.addresses import check_bucket_uri, check_web_address
from hoir_ray.spec.conditions import parse_condition
from hoir_ray.spec.early_terminate import EarlyTerminate, MoAshaSpec, NoStopSpec
from hoir_ray.spec.fields.names import SweepName
from hoir_ray.spec.fields.notify import NotifyTargets
from hoir_ray.spec.fields.units import Duration, Size
from hoir_ray.spec.metric import MetricSpec
from hoir_ray.spec.parameters import ParameterCase
from hoir_ray.spec.stored import SIZES, STAND_INS, STORED
from hoir_ray.spec.target import Target, with_target

BucketUri = Annotated[str, AfterValidator(lambda uri: _checked(check_bucket_uri, uri))]


WebAddress = Annotated[str, AfterValidator(lambda url: _checked(check_web_address, url))]


def _checked(check: Callable[..., str], address: str) -> str:
    try:
        return check(address, source="address")
    except RequestError as error:
        raise ValueError(str(error).removeprefix("address: ").partition(", got ")[0]) from None


class Resources(Config):
    """Resources of one trial: `workers` processes with `cpus` and `gpus` each; `concurrent_trials: auto` fills Ray.

    Attributes:
        autoscaled: Ray starts machines for what waits, so `concurrent_trials` are asked for, whatever there is now.
    """

    workers: int = Field(default=1, ge=1, le=4096)
    cpus: float = Field(default=1, gt=0, le=4096)
    gpus: float = Field(default=0, ge=0, le=64)
    concurrent_trials: int | Literal["auto"] = "auto"
    autoscaled: bool = False

    @model_validator(mode="after")
    def _shareable(self) -> Resources:
        if self.gpus > 1:
            raise ValueError(
                f"gpus is for each worker, which trains on one GPU at most: got gpus {self.gpus:g}; for a trial on "
                f"several GPUs use workers: {self.gpus:g} with gpus: 1"
            )
        if self.workers > 1 and 0 < self.gpus < 1:
            raise ValueError(
                f"workers of one trial cannot share a GPU (NCCL refuses it): got workers {self.workers} with gpus "
                f"{self.gpus}; use whole GPUs, or workers: 1"
            )
        if self.autoscaled and self.concurrent_trials == "auto":
            raise ValueError("autoscaled: concurrent_trials must be a number, or Ray would not know how far to grow")
        if isinstance(self.concurrent_trials, int) and self.concurrent_trials < 1:
            raise ValueError(f"concurrent_trials must be at least 1 or 'auto', got {self.concurrent_trials}")
        return self


def _condition(text: str) -> str:
    try:
        return parse_condition(text).text
    except RequestError as error:
        raise ValueError(str(error)) from None


ConditionText = Annotated[str, AfterValidator(_condition)]


class Budget(Config):
    """Budget of the sweep: a number of trials, a time, or both; the first that is reached ends it.

    Attributes:
        stop_at: A condition such as `val_psnr_db >= 30`; the first finished trial that meets it ends the sweep.
    """

    max_trials: int | None = Field(default=None, ge=1, le=1_000_000)
    wall_clock: Duration | None = None
    stop_at: ConditionText | None = None

    @model_validator(mode="after")
    def _some_end(self) -> Budget:
        if self.max_trials is None and self.wall_clock is None:
            raise ValueError("needs max_trials or wall_clock (or both)")
        return self


class Failures(Config):
    """Policy for failing trials: retries, time-outs, limits.

    Attributes:
        max_retries: How often a trial that failed by its own fault is tried again; a lost machine is not its fault.
        trial_timeout: How long one attempt at a trial may take.
        hang_timeout: How long a trial may be silent; longer than its slowest validated epoch takes.
        placement_timeout: How long a trial may wait for Ray to find its CPUs and GPUs before the sweep is given up.
        memory_limit: How much memory a trial (each of its workers) may take, so that only the guilty one fails.
        on_oom: What is done with a trial that ran out of memory.
        abort_if_failed_fraction: The sweep is given up when more than this share of its trials has failed.
    """

    max_retries: int = Field(default=2, ge=0)
    trial_timeout: Duration | None = None
    hang_timeout: Duration | None = 3600.0
    placement_timeout: Duration | None = 1800.0
    memory_limit: Size | None = None
    on_oom: Literal["fail", "halve_batch"] = "halve_batch"
    abort_if_failed_fraction: float = Field(default=0.5, gt=0, le=1)


class ReplicateTop(Config):
    """After the search, the best trials are run again with other seeds, and compared by the mean of those runs."""

    num_trials: int = Field(default=3, ge=1, le=100)
    num_seeds: int = Field(default=3, ge=1, le=100)


class Start(Config):
    """One source of points to try first.

    Attributes:
        source: `default` (the package's portfolio for the task), `none`, a portfolio's YAML file, or an earlier sweep:
            its name, folder or `s3://` URI. Alone it needs no mapping: `start_from: default`. Several are a list.
        top_k: How many of its points are tried, the best first.
        mode: `observe` also gives the results of an earlier sweep to the sampler.
    """

    model_config = ConfigDict(serialize_by_alias=True, validate_by_name=True, validate_by_alias=True)

    source: BucketUri = Field(alias="from", min_length=1)
    top_k: int = Field(default=8, ge=1, le=1000)
    mode: Literal["enqueue", "observe"] = "enqueue"

    @model_validator(mode="before")
    @classmethod
    def _from_its_name(cls, start: object) -> object:
        return {"from": start} if isinstance(start, str) else start

    @model_validator(mode="after")
    def _only_sweeps_have_results(self) -> Start:
        if self.mode == "observe" and not self.is_sweep:
            raise ValueError(f"mode observe takes the results of an earlier sweep; {self.source} has none, use enqueue")
        return self

    @model_serializer(mode="wrap")
    def _as_its_name(self, serialize: SerializerFunctionWrapHandler) -> Any:
        return self.source if (self.top_k, self.mode) == (8, "enqueue") else serialize(self)

    @property
    def is_file(self) -> bool:
        """Return whether it is the file of a portfolio."""
        return self.source.endswith((".yaml", ".yml"))

    @property
    def is_sweep(self) -> bool:
        """Return whether it is an earlier sweep."""
        return self.source not in ("default", "none") and not self.is_file


class StorageSpec(Config):
    """Storage of the results: a folder, or `s3://bucket/prefix`."""

    uri: BucketUri = "hoir-runs"
    endpoint_url: WebAddress | None = None


# The sha256 of an input's manifest, and the name of the file or folder: where it lies below the storage's `inputs/`.
InputKey = Annotated[str, Field(pattern=r"^[0-9a-f]{64}/[^/\x00]{1,255}$")]


class SweepSpec(Config):
    """A sweep, as its YAML says it.

    Attributes:
        target: Stands for an objective and a constraint: see `Target`.
        start_from: What is tried first. Unless given, `default` where `method` learns.
        notify: Commands and addresses that get a summary as JSON once the sweep has ended.
        inputs: Files and folders of `data` that were copied into storage: path as in `data` -> where they are. Written
            by the program, when trials are to run where the path does not exist.
        contents: Files and folders of `data` -> fingerprint of what is in them. Written by the program, so that a sweep
            resumes when its data has moved, and not when it has changed.
    """

    name: SweepName
    task: str
    data: dict[str, Any] = {}
    method: Literal["bayes", "tpe", "random", "grid", "nsga2", "gp"] = "bayes"
    metrics: tuple[MetricSpec, ...] = Field(min_length=1)
    constraints: tuple[ConditionText, ...] = ()
    target: Target | None = None
    parameters: dict[str, tuple[ParameterCase, ...]] = Field(min_length=1)
    early_terminate: EarlyTerminate = Field(default=NoStopSpec(), discriminator="type")
    replicate_top: ReplicateTop | None = None
    start_from: tuple[Start, ...] | None = Field(default=None, min_length=1, max_length=100)
    inputs: dict[str, InputKey] = {}
    contents: dict[str, str] = {}
    resources: Resources = Resources()
    budget: Budget
    failures: Failures = Failures()
    storage: StorageSpec = StorageSpec()
    trackers: dict[str, dict[str, Any]] = {"tensorboard": {}, "jsonl": {}}
    notify: NotifyTargets = ()
    seed: int = Field(default=0, ge=0, lt=2**32)
    provenance: dict[str, str] | None = None

    @model_validator(mode="before")
    @classmethod
    def _target_is_an_objective(cls, sweep: object) -> object:
        return with_target(sweep) if isinstance(sweep, Mapping) and sweep.get("target") is not None else sweep

    @model_validator(mode="after")
    def _mo_asha_has_a_front(self) -> SweepSpec:
        if isinstance(self.early_terminate, MoAshaSpec) and len(self.metrics) < 2:
            raise ValueError("early_terminate: mo_asha ranks by several metrics, and there is one; use asha")
        return self

    @field_validator("start_from", mode="before")
    @classmethod
    def _one_start_is_a_list(cls, start: object) -> object:
        return (start,) if isinstance(start, (str, Mapping, Start)) else start

    @model_validator(mode="after")
    def _starts_once(self) -> SweepSpec:
        sources = [start.source for start in self.start_from or ()]
        if self.method == "grid" and sources and sources != ["none"]:
            raise ValueError("start_from: a grid tries every point anyway; use another method")
        if "none" in sources and len(sources) > 1:
            raise ValueError(f"start_from: 'none' stands alone, got {', '.join(sources)}")
        return self

    @field_validator("parameters", mode="before")
    @classmethod
    def _cases_are_lists(cls, parameters: object) -> object:
        if not isinstance(parameters, Mapping):
            return parameters
        return {path: case if isinstance(case, (list, tuple)) else (case,) for path, case in parameters.items()}

    @property
    def starts(self) -> tuple[Start, ...]:
        """Sources of the points that are tried first; empty for none."""
        if self.start_from is None:
            return (Start(source="default"),) if self.method in ("bayes", "gp", "tpe") else ()
        return tuple(start for start in self.start_from if start.source != "none")

    @property
    def metric(self) -> MetricSpec:
        """The first metric: it steers early stopping, and the search when it is the only one."""
        return self.metrics[0]

    @property
    def epoch_metrics(self) -> tuple[MetricSpec, ...]:
        """The metrics as every epoch has them; one of a trial's end is represented by its stand-in."""
        stand_ins = ((m, STAND_INS.get(m.name)) for m in self.metrics)
        return tuple(MetricSpec(name=s[0], goal=s[1]) if s else m for m, s in stand_ins)

    @property
    def epoch_metric(self) -> MetricSpec:
        """The metric by which epochs of one trial are compared; the stored size's stand-in is the same for all."""
        return MetricSpec(name="val_loss") if self.epoch_metrics[0].name in SIZES else self.epoch_metrics[0]

    @property
    def searches_size(self) -> bool:
        """True where a size alone is the objective, so that a small network may be worse than others."""
        return len(self.metrics) == 1 and self.epoch_metrics[0].name in SIZES

    @property
    def named_metrics(self) -> frozenset[str]:
        """Metrics that the objectives, the constraints and `stop_at` name."""
        conditions = [*self.constraints, *([self.budget.stop_at] if self.budget.stop_at else [])]
        named = frozenset(m.name for m in self.metrics)
        return named.union(*(parse_condition(text).names for text in conditions))

    @property
    def measures_stored_form(self) -> bool:
        """Return whether a metric or a constraint is of the stored form, which then has to be made."""
        return bool(self.named_metrics & STORED.keys())
