"""The sweep YAML as frozen models: what to represent, what to search, with which resources and budget."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from hoir_ray.config import Config, explain, nearest
from hoir_ray.document import Document, dump_document, load_document, parse_document
from hoir_ray.errors import SpecError
from hoir_ray.expression import parse_condition

Scalar = bool | int | float | str | None
Distribution = Literal["uniform", "q_uniform", "log_uniform_values", "q_log_uniform_values"]
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZES = {f"{u}{i}": (1024 if i else 1000) ** n for n, u in enumerate("KMGT", start=1) for i in ("", "i")}


def seconds(value: object) -> float:
    """`90s`, `20m`, `6h`, `2d`, `1h30m` or a plain number of seconds.

    Raises:
        ValueError: For anything else, or a duration that is not positive.
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        total = float(value)
    else:
        parts = re.findall(r"(\d+(?:\.\d+)?)([smhd])", str(value))
        if not parts or "".join(n + u for n, u in parts) != str(value):
            raise ValueError("must be a duration such as 90s, 20m or 6h")
        total = sum(float(n) * _UNITS[u] for n, u in parts)
    if not 0 < total < float("inf"):
        raise ValueError("must be a positive duration")
    return total


Duration = Annotated[float, BeforeValidator(seconds)]


def size_bytes(value: object) -> int:
    """`512MiB`, `4GiB`, `4GB` or a plain number of bytes.

    Raises:
        ValueError: For anything else, or less than 16 MiB, in which nothing can be trained.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        total = value
    else:
        match = re.fullmatch(r"(\d+(?:\.\d+)?) ?([KMGT]i?)B", str(value))
        if match is None:
            raise ValueError("must be a size such as 512MiB or 4GiB")
        total = int(float(match[1]) * _SIZES[match[2]])
    if total < _SIZES["Mi"] * 16:
        raise ValueError("must be at least 16MiB")
    return total


Size = Annotated[int, BeforeValidator(size_bytes)]


class ParameterCase(Config):
    """One way a parameter is drawn: a fixed value, a choice of values, or a range; `when` says when it applies."""

    when: dict[str, tuple[Scalar, ...]] = {}
    value: Scalar = None
    values: tuple[Scalar, ...] | None = Field(default=None, min_length=1)
    min: int | float | None = None
    max: int | float | None = None
    distribution: Distribution | None = None
    q: int | float | None = Field(default=None, gt=0)

    @model_validator(mode="before")
    @classmethod
    def _is_a_mapping(cls, case: object) -> object:
        if not isinstance(case, (Mapping, ParameterCase)):
            raise ValueError(
                f"must be a mapping, such as {{value: {case}}} or {{values: [...]}} or {{min: ..., max: ...}}"
            )
        return case

    @field_validator("when", mode="before")
    @classmethod
    def _scalars_are_lists_of_one(cls, when: object) -> object:
        if not isinstance(when, Mapping):
            return when
        return {k: v if isinstance(v, (list, tuple)) else (v,) for k, v in when.items()}

    @model_validator(mode="after")
    def _one_kind(self) -> ParameterCase:
        kinds = {"value", "values"} & self.model_fields_set
        is_range = bool({"min", "max"} & self.model_fields_set)
        if len(kinds) + is_range != 1:
            raise ValueError("needs exactly one of 'value', 'values', or 'min' with 'max'")
        if not is_range:
            for name in ("distribution", "q"):
                if name in self.model_fields_set:
                    raise ValueError(f"'{name}' goes with 'min' and 'max'")
            if self.values is not None and len(set(map(repr, self.values))) != len(self.values):
                raise ValueError(f"'values' holds the same value twice: {list(self.values)}")
            return self
        self._check_range()
        return self

    def _check_range(self) -> None:
        if self.min is None or self.max is None:
            raise ValueError("a range needs both 'min' and 'max'")
        if self.min > self.max:
            raise ValueError(f"'min' must not be above 'max', got min {self.min} and max {self.max}")
        if self.is_log and self.min <= 0:
            raise ValueError(f"a log range must stay above zero, got min {self.min}")
        if (self.distribution or "").startswith("q_") and self.q is None:
            raise ValueError(f"'{self.distribution}' needs 'q', the step")

    @property
    def is_log(self) -> bool:
        return self.distribution in ("log_uniform_values", "q_log_uniform_values")


class MetricSpec(Config):
    """A metric to search by, and whether more or less of it is better."""

    name: str
    goal: Literal["minimize", "maximize"] = "minimize"


class AshaSpec(Config):
    """Asynchronous successive halving: at epochs `min_iter * eta**k` only the best 1/`eta` so far go on."""

    type: Literal["asha"]
    min_iter: int = Field(default=1, ge=1)
    max_iter: int | None = Field(default=None, ge=1)
    eta: int = Field(default=3, ge=2)


class MoAshaSpec(AshaSpec):
    """As `asha`, with the trials at a rung ranked by all metrics: by non-domination, then by distance to others."""

    type: Literal["mo_asha"]  # type: ignore[assignment]


class MedianSpec(Config):
    """Stop a trial whose best value is worse than the median of the others' means up to the same epoch."""

    type: Literal["median"]
    min_iter: int = Field(default=1, ge=1)
    min_trials: int = Field(default=5, ge=1)


class NoStopSpec(Config):
    type: Literal["none"] = "none"


class Resources(Config):
    """What one trial gets: `workers` processes with `cpus` and `gpus` each; `concurrent_trials: auto` fills Ray.

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


class Budget(Config):
    """When the sweep ends: after so many trials, or so much time, whichever comes first."""

    max_trials: int | None = Field(default=None, ge=1, le=1_000_000)
    wall_clock: Duration | None = None

    @model_validator(mode="after")
    def _some_end(self) -> Budget:
        if self.max_trials is None and self.wall_clock is None:
            raise ValueError("needs max_trials or wall_clock (or both)")
        return self


class Failures(Config):
    """What is done when trials fail, and what counts as failing.

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


class WarmStart(Config):
    """An earlier sweep to learn from: its best points are tried first; `observe` also tells the sampler its results."""

    model_config = ConfigDict(serialize_by_alias=True, validate_by_name=True, validate_by_alias=True)

    source: str = Field(alias="from", min_length=1)
    top_k: int = Field(default=8, ge=1, le=1000)
    mode: Literal["enqueue", "observe"] = "enqueue"


class StorageSpec(Config):
    """Where results are kept: a folder, or `s3://bucket/prefix`."""

    uri: str = "hoir-runs"
    endpoint_url: str | None = None


# The sha256 of an input's manifest, and the name of the file or folder: where it lies below the storage's `inputs/`.
InputKey = Annotated[str, Field(pattern=r"^[0-9a-f]{64}/[^/\x00]{1,255}$")]


class SweepSpec(Config):
    """A sweep, as its YAML says it.

    Attributes:
        inputs: Files and folders of `data` that were copied into storage: path as in `data` -> where they are. Written
            by the program, when trials are to run where the path does not exist.
    """

    name: str
    task: str
    data: dict[str, Any] = {}
    method: Literal["bayes", "random", "grid", "nsga2", "gp"] = "bayes"
    metrics: tuple[MetricSpec, ...] = Field(min_length=1)
    constraints: tuple[str, ...] = ()
    parameters: dict[str, tuple[ParameterCase, ...]] = Field(min_length=1)
    early_terminate: AshaSpec | MoAshaSpec | MedianSpec | NoStopSpec = Field(default=NoStopSpec(), discriminator="type")
    replicate_top: ReplicateTop | None = None
    warm_start: WarmStart | None = None
    inputs: dict[str, InputKey] = {}
    resources: Resources = Resources()
    budget: Budget
    failures: Failures = Failures()
    storage: StorageSpec = StorageSpec()
    trackers: dict[str, dict[str, Any]] = {"tensorboard": {}, "jsonl": {}}
    seed: int = Field(default=0, ge=0, lt=2**32)
    provenance: dict[str, str] | None = None

    @field_validator("name")
    @classmethod
    def _name_is_a_folder(cls, name: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name) or ".." in name:
            raise ValueError(
                "must be 1 to 100 letters, digits, '.', '_' or '-', starting with a letter or digit, without '..': "
                "it names a folder in storage"
            )
        return name

    @model_validator(mode="after")
    def _mo_asha_has_a_front(self) -> SweepSpec:
        if isinstance(self.early_terminate, MoAshaSpec) and len(self.metrics) < 2:
            raise ValueError("early_terminate: mo_asha ranks by several metrics, and there is one; use asha")
        return self

    @model_validator(mode="after")
    def _grid_starts_cold(self) -> SweepSpec:
        if self.warm_start is not None and self.method == "grid":
            raise ValueError("warm_start: a grid tries every point anyway; use another method")
        return self

    @field_validator("parameters", mode="before")
    @classmethod
    def _cases_are_lists(cls, parameters: object) -> object:
        if not isinstance(parameters, Mapping):
            return parameters
        return {path: case if isinstance(case, (list, tuple)) else (case,) for path, case in parameters.items()}

    @field_validator("constraints")
    @classmethod
    def _constraints_parse(cls, constraints: tuple[str, ...]) -> tuple[str, ...]:
        for text in constraints:
            try:
                parse_condition(text)
            except Exception as error:
                raise ValueError(str(error)) from None
        return constraints

    @property
    def metric(self) -> MetricSpec:
        """The first metric: it steers early stopping, and the search when it is the only one."""
        return self.metrics[0]


def load_spec(path: Path | str, *, overrides: Sequence[str] = ()) -> tuple[SweepSpec, Document]:
    """A sweep YAML, with `a.b=c` overrides, as a spec, and the document to name places in it.

    Raises:
        SpecError: Naming rule, value and `file:line`, one line for each thing that is wrong.
    """
    document = load_document(path)
    return build_spec(override(document, overrides)), document


def build_spec(document: Document) -> SweepSpec:
    """Check a document against the schema."""
    data = dict(document.data)
    if "metric" in data:
        if "metrics" in data:
            raise SpecError(f"metric: give either 'metric' or 'metrics', not both ({document.place('metric')})")
        data["metrics"] = [data.pop("metric")]
    try:
        return SweepSpec.model_validate(data)
    except ValidationError as error:
        lines = []
        findings = explain(error, known=_KNOWN)
        for path, complaint in findings:
            if path == "metrics" and any(p.startswith("metrics.") for p, _ in findings):
                continue
            keys = tuple(_document_keys(path, document))
            shown = ".".join(keys) or "sweep"
            lines.append(f"{shown}: {complaint} ({document.place(*keys)})")
        raise SpecError("\n".join(dict.fromkeys(lines))) from None


def override(document: Document, overrides: Sequence[str]) -> Document:
    """The document with `a.b=c` settings laid over it.

    A path into the network, training or data config pins that parameter to the value.
    """
    data = parse_document(dump_document(document.data), name=document.path).data if overrides else document.data
    for text in overrides:
        path, value = parse_override(text)
        keys = path.split(".")
        if keys[0] in ("network", "training"):
            data.setdefault("parameters", {})[path] = {"value": value}
        elif keys[0] == "parameters" and len(keys) > 1:
            data.setdefault("parameters", {})[".".join(keys[1:])] = (
                value if isinstance(value, dict) else {"value": value}
            )
        elif keys[0] in SweepSpec.model_fields or keys[0] == "metric":
            node = data
            for key in keys[:-1]:
                node = node.setdefault(key, {})
                if not isinstance(node, dict):
                    raise SpecError(f"--set {text}: '{key}' is not a mapping in {document.path}")
            node[keys[-1]] = value
        else:
            known = [*SweepSpec.model_fields, "network", "training"]
            raise SpecError(f"--set {text}: unknown key '{keys[0]}'.{nearest(keys[0], known)}")
    return Document(path=document.path, data=data, lines=document.lines)


def parse_override(text: str) -> tuple[str, Any]:
    """`a.b=c` as its path and the value that YAML reads in `c`."""
    path, equals, raw = text.partition("=")
    if not equals or not re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", path):
        raise SpecError(f"'{text}': a setting is written a.b=value, such as network.hidden.width=32")
    try:
        return path, parse_document(f"value: {raw}", name="--set").data["value"]
    except SpecError:
        return path, raw


_KNOWN = [
    *SweepSpec.model_fields,
    "metric",
    *(f"resources.{k}" for k in Resources.model_fields),
    *(f"budget.{k}" for k in Budget.model_fields),
    *(f"failures.{k}" for k in Failures.model_fields),
    *(f"storage.{k}" for k in StorageSpec.model_fields),
    *(f"replicate_top.{k}" for k in ReplicateTop.model_fields),
    *(f"warm_start.{k}" for k in ("from", "top_k", "mode")),
    *(f"early_terminate.{k}" for k in AshaSpec.model_fields | MedianSpec.model_fields),
]


def _document_keys(path: str, document: Document) -> list[str]:
    """The keys under which a schema path stands in the document: parameters have dots inside, single cases no index."""
    if path.startswith("metrics.0") and ("metric",) in document.lines:
        return ["metric", *path.split(".")[2:]]
    if path.startswith("parameters."):
        rest = path.removeprefix("parameters.")
        for name in sorted(document.data.get("parameters") or {}, key=len, reverse=True):
            if rest == name or rest.startswith(f"{name}."):
                tail = [k for k in rest.removeprefix(name).split(".") if k]
                if tail and tail[0] == "0" and ("parameters", name, "0") not in document.lines:
                    tail = tail[1:]
                return ["parameters", name, *tail]
    return path.split(".") if path else []
