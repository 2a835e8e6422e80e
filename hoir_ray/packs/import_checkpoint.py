"""A model pack from a Lightning checkpoint of the upstream project: `hoir import`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from hoir_ray.config import flatten
from hoir_ray.errors import DataError, PackError, RequestError
from hoir_ray.machine.files import try_destination
from hoir_ray.networks.mlp import MLP
from hoir_ray.networks.upstream import load_upstream_state, reorder
from hoir_ray.packs.foreign_checkpoint import plain, read_foreign, weights
from hoir_ray.packs.pack import write_pack
from hoir_ray.tasks import load_task, task_names
from hoir_ray.tasks.contract import Task, TaskConfig, read_config
from hoir_ray.training.predict import predict

# Upstream's `Net` gives the hidden layers the nodes of the input layer, and normalizes by the largest magnitude.
_NETWORK = {
    "mlp.layer_type": "network.layer_type",
    "mlp.n": "network.num_nodes",
    "mlp.n_in": "network.input.num_nodes",
    "mlp.n_out": "network.output.num_nodes",
    "mlp.input.segments": "network.input.segments",
    "mlp.hidden.segments": "network.hidden.segments",
    "mlp.output.segments": "network.output.segments",
    "mlp.hidden.width": "network.hidden.width",
    "mlp.hidden.layers": "network.hidden.num_layers",
}
_TRAINING = {
    "max_epochs": "training.max_epochs",
    "batch_size": "training.batch_size",
    "optimizer.name": "training.optimizer.name",
    "optimizer.lr": "training.optimizer.lr",
}
_REFERENCE = re.compile(r"\$\{([\w.]+)\}")


def import_checkpoint(
    path: Path, settings: Sequence[str], *, task: str | None, to: Path
) -> tuple[Path, dict[str, float]]:
    """Write the model pack of a checkpoint's network, and measure it on the task's data.

    Args:
        settings: Config values `a.b=c` in place of the checkpoint's hyperparameters, or where it has none.
        task: None takes the one that the hyperparameters are of.

    Returns:
        The pack's folder and its metrics.

    Raises:
        PackError: If the checkpoint cannot be read or does not fit the config.
        RequestError: If the task cannot be told, or upstream's network means something else in it.
        DataError: If the task's data is not at hand.
    """
    try_destination(to, is_folder=True, source="--to")
    checkpoint = read_foreign(path)
    state = _network_state(weights(checkpoint, path), path)
    hyperparameters = _hyperparameters(checkpoint, path)
    chosen = load_task(task) if task is not None else _task_of(hyperparameters, path)
    if chosen.upstream is None:
        raise RequestError(
            f"{path}: task '{chosen.name}' cannot be imported: its networks treat their inputs in another way than "
            "upstream's, so that the same weights would draw something else"
        )
    config = read_config(chosen, settings, start=_start(chosen, hyperparameters))
    network = _load_network(chosen, config, state, path)
    try:
        data = chosen.data(config)
    except DataError as error:
        raise DataError(f"{error}; a pack is measured on its data: name it, such as data.image=photo.jpg") from None
    prediction, target = predict(network, data.val)
    metrics = {"num_parameters": float(chosen.num_parameters(config)), **chosen.score(prediction, target, data)}
    write_pack(
        to,
        task=chosen,
        config=config,
        facts=data.facts,
        state=network.state_dict(),
        metrics=metrics,
        preview=chosen.pictures(network, data)["preview"],
    )
    return to, metrics


def _network_state(state: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """The part that is HighOrderMLP's, under its own names."""
    for prefix in ("model.", ""):
        if any(name.startswith(f"{prefix}model.0.") for name in state):
            return {n.removeprefix(prefix): tensor for n, tensor in state.items() if n.startswith(prefix)}
    raise PackError(
        f"{path}: holds no HighOrderMLP: no weight is named 'model.model.0...', but {', '.join(sorted(state)[:6])}"
    )


def _hyperparameters(checkpoint: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Dotted path -> value; of a list the first, references to other values followed once."""
    try:
        given = plain(checkpoint.get("hyper_parameters"))
    except ValueError as error:
        raise PackError(f"{path}: its hyperparameters hold {error}") from None
    if not isinstance(given, dict):
        return {}
    if isinstance(given.get("cfg"), dict):
        given = given["cfg"]
    flat = {k: (v[0] if isinstance(v, list) and v else v) for k, v in flatten(given).items()}
    for name, value in flat.items():
        if isinstance(value, str) and (reference := _REFERENCE.fullmatch(value)):
            flat[name] = flat.get(reference[1], value)
    return flat


def _task_of(hyperparameters: Mapping[str, Any], path: Path) -> Task[Any]:
    for name in task_names():
        task = load_task(name)
        if task.upstream is not None and all(p in hyperparameters for p in task.upstream.settings):
            return task
    importable = [name for name in task_names() if load_task(name).upstream is not None]
    raise RequestError(
        f"{path}: its hyperparameters ({', '.join(sorted(hyperparameters)[:8]) or 'none'}) are of no task that can be "
        f"imported; give --task, one of {', '.join(importable)}, and the config as a.b=c"
    )


def _start(task: Task[Any], hyperparameters: Mapping[str, Any]) -> dict[str, Any]:
    """The config that the hyperparameters come to, by dotted paths."""
    assert task.upstream is not None
    names = {**_NETWORK, **_TRAINING, **task.upstream.settings}
    start: dict[str, Any] = dict(task.upstream.fixed)
    start |= {
        ours: hyperparameters[theirs] for theirs, ours in names.items() if hyperparameters.get(theirs) is not None
    }
    if "network.input.num_nodes" in start:
        start["network.hidden.num_nodes"] = start["network.input.num_nodes"]
    if "optimizer.name" in hyperparameters:
        known = hyperparameters.get("optimizer.scheduler")
        start["training.scheduler.name"] = known if known in ("plateau", "exponential") else "none"
    layer_type = start.get("network.layer_type")
    if layer_type == "baseline_relu":
        raise RequestError(
            "mlp.layer_type: upstream's 'baseline_relu' has a rectifier behind its output layer too, which no network "
            "here has; such a checkpoint cannot be imported"
        )
    if layer_type == "baseline":
        start["network.layer_type"] = "linear"
    return start


def _load_network(task: Task[Any], config: TaskConfig, state: Mapping[str, Tensor], path: Path) -> MLP:
    held = sum(v.numel() for k, v in state.items() if k.startswith("model.") and not k.endswith(".result"))
    expected = task.num_parameters(config)
    if held != expected:  # before anything of the config's size is built
        raise PackError(
            f"{path}: holds {held:,} weights, and the network of the config has {expected:,}; set what differs, such "
            "as network.hidden.width=40"
        )
    network = task.network(config)
    assert isinstance(network, MLP)
    assert task.upstream is not None
    try:
        load_upstream_state(network, state)
    except PackError as error:
        raise PackError(f"{path}: {error}") from None
    reorder(network, inputs=task.upstream.inputs(config), outputs=task.upstream.outputs(config))
    return network.eval()
