"""The contract of a task: a record of functions, so that a new task is one folder and no task owns a training loop."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pydantic import ValidationError

from hoir_ray.config import Config, absolute_paths, config_paths, explain, nest
from hoir_ray.errors import SpecError
from hoir_ray.networks.config import NetworkConfig
from hoir_ray.spec.load import parse_override
from hoir_ray.spec.parameters import Scalar
from hoir_ray.training.config import TrainingConfig
from hoir_ray.training.facts import Facts

if TYPE_CHECKING:
    from torch import Tensor, nn

    from hoir_ray.training.data import TaskData

# Measured by the training loop for every task; the rest of a task's metrics come from its `score`.
TRAINING_METRICS = frozenset({"train_loss", "num_parameters", "train_time_s", "samples_per_s", "lr"})


class TaskConfig(Config):
    """The parts that every task's config has; a task adds its own `data`."""

    network: NetworkConfig = NetworkConfig()
    training: TrainingConfig = TrainingConfig()


C = TypeVar("C", bound=TaskConfig)
PANEL_GAP = 4  # white pixels between the panels of a comparison


@dataclass(frozen=True, kw_only=True)
class UpstreamProgram(Generic[C]):
    """Names and order of what upstream's program for the same task has.

    Attributes:
        settings: Path among its hyperparameters -> path in our config. A checkpoint that has all of them is of this
            task; of a list, the program takes the first.
        fixed: Path in our config -> the value that it has in all of its networks.
        inputs: For each input of its network, the number of the one of ours that carries the same values.
        outputs: The same for the outputs.
    """

    settings: Mapping[str, str]
    inputs: Callable[[C], Sequence[int]]
    outputs: Callable[[C], Sequence[int]]
    fixed: Mapping[str, Scalar] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Task(Generic[C]):
    """A task as the rest of the program knows it.

    Attributes:
        name: As in `task:` of a sweep YAML; also the name of its folder.
        summary: One line for `hoir tasks`.
        config: Network, training and the task's own data fields.
        facts: Model of what a pack remembers of the data; `data` gives one, `render` takes it.
        data: Loads the data. Raises DataError for data that is missing or unusable.
        num_samples: Training samples that the config's data has, from reading what it names: all of it, or of a
            folder of pictures some. Raises DataError as `data`, sooner; models of text are not asked.
        network: A module with `network(*inputs)` shaped like the target.
        num_parameters: Trainable parameters of that network, without building it.
        metrics: Names of everything that is known of a validated epoch, the training loop's own included.
        score: (prediction, target, data) over the whole validation split -> metrics, among them `val_loss`.
        measure: (network, data) -> further metrics, of what the network draws and not of its predictions; may be none.
        end_metrics: Names of what `measure_end` measures; each has a stand-in in `spec.stored`.
        measure_end: (network, config, data, asked) -> metrics that are measured once, of the best epoch's network; may
            be none. What takes more than a second or so is left out unless the sweep asks for it.
        unmeasured: (config, names) -> those of the names, of `metrics` or `end_metrics`, that are not measured -> why.
            Asked for every point that a search looks at.
        warnings: What is allowed in a config and probably not meant.
        pictures: (network, data) -> name -> (H, W, 3) in [0, 1], to watch training by; must have `preview`.
        picture_names: The names that `pictures` gives.
        render_options: The flags of `hoir render` that this task understands, with their defaults.
        render: (network, config, facts, options) -> frames (num_frames, H, W, 3) in [0, 1], from a pack alone.
        num_pixels: Pixels that the config's data is drawn at; None where the network is not of one picture, or where
            that cannot be read here.
        original: The picture that the config's network is of, at the size that it is trained at, (H, W, 3) bytes; None
            where it is not of one picture. Raises DataError where that cannot be read.
        panels: Names of the parts of the picture `comparison`, equally wide and PANEL_GAP apart; none if it has none.
        pictured: The same in words, for a picture that has no such panels: what is where in it.
        colours: (network, config, facts, positions (x, y) in [-1, 1]) -> red, green and blue in [0, 1], for networks
            that represent one picture; None for others.
        views: (facts) -> (height, width) in pixels of each picture that `render` draws parts of (`region`), by its
            `caption`, which is empty for the only one; None where it draws none.
        upstream: Reads networks that upstream's program trained; None where they mean something else.
        upgrade: The config in a pack of an earlier version -> the same in today's words.
    """

    name: str
    summary: str
    config: type[C]
    facts: type[Facts]
    data: Callable[[C], TaskData]
    num_samples: Callable[[C], int]
    network: Callable[[C], nn.Module]
    num_parameters: Callable[[C], int]
    metrics: frozenset[str]
    score: Callable[[Tensor, Tensor, TaskData], dict[str, float]]
    pictures: Callable[[nn.Module, TaskData], Mapping[str, Tensor]]
    render_options: type[Config]
    render: Callable[[nn.Module, C, Any, Any], Tensor]
    num_pixels: Callable[[C], int | None] = lambda config: None
    original: Callable[[C], Tensor] | None = None
    panels: tuple[str, ...] = ()
    pictured: str = ""
    picture_names: tuple[str, ...] = ("preview",)
    colours: Callable[[nn.Module, C, Any, Tensor], Tensor] | None = None
    views: Callable[[Any], Mapping[str, tuple[int, int]]] | None = None
    upstream: UpstreamProgram[C] | None = None
    measure: Callable[[nn.Module, TaskData], dict[str, float]] = lambda network, data: {}
    end_metrics: frozenset[str] = frozenset()
    measure_end: Callable[[nn.Module, C, TaskData, bool], dict[str, float]] = lambda *_: {}
    unmeasured: Callable[[C, Set[str]], Mapping[str, str]] = lambda config, names: {}
    warnings: Callable[[C], Iterable[str]] = lambda config: ()
    upgrade: Callable[[dict[str, Any]], dict[str, Any]] = lambda config: config


def flag_names(task: Task[Any]) -> list[str]:
    """The task's flags of `hoir render`, as they are typed."""
    return [f"--{(f.alias or name).replace('_', '-')}" for name, f in task.render_options.model_fields.items()]


def deferred(package: str, target: str) -> Callable[..., Any]:
    """The function `target`, written `module:name` below `package`, imported when it is first called.

    A task's record stays light with it: checking a sweep YAML needs a task's config and not torch.
    """
    module, _, name = target.partition(":")

    def call(*arguments: Any) -> Any:
        return getattr(import_module(f"{package}.{module}"), name)(*arguments)

    return call


def read_config(task: Task[Any], settings: Sequence[str], *, start: dict[str, Any] | None = None) -> TaskConfig:
    """A task's config from `a.b=c` settings laid over `start`; relative paths start where the user stands.

    Raises:
        SpecError: One line for each thing that is wrong.
    """
    flat = {**(start or {}), **dict(parse_override(text) for text in settings)}
    nested = nest(flat)
    data_type: Any = task.config.model_fields["data"].annotation
    if isinstance(nested.get("data"), dict):
        nested["data"] = absolute_paths(data_type, nested["data"], base=Path.cwd())
    try:
        return task.config.model_validate(nested)
    except ValidationError as error:
        known = config_paths(task.config)
        raise SpecError("\n".join(f"{path}: {complaint}" for path, complaint in explain(error, known=known))) from None
