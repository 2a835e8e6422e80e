"""Reading a sweep YAML: the schema applied, `--set` overrides laid over it, every complaint with file and line."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from hoir_ray.config import explain, nearest
from hoir_ray.errors import SpecError
from hoir_ray.spec.document import Document, dump_document, load_document, parse_document
from hoir_ray.spec.early_terminate import AshaSpec, MedianSpec
from hoir_ray.spec.schema import Budget, Failures, ReplicateTop, Resources, StorageSpec, SweepSpec
from hoir_ray.spec.target import Target

OLD_START = "warm_start"  # how specs of earlier versions say `start_from` with one sweep


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
    if (earlier := data.pop(OLD_START, None)) is not None:
        if data.get("start_from") is not None:
            raise SpecError(
                f"{OLD_START}: give either 'start_from' or '{OLD_START}', its old name, not both "
                f"({document.place(OLD_START)})"
            )
        data["start_from"] = [earlier]
    try:
        return SweepSpec.model_validate(data)
    except ValidationError as error:
        lines = []
        findings = explain(error, known=_KNOWN)
        for path, complaint in findings:
            if path in ("metrics", "start_from") and any(p.startswith(f"{path}.") for p, _ in findings):
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
        elif keys[0] in SweepSpec.model_fields or keys[0] in ("metric", OLD_START):
            node = data
            for key in keys[:-1]:
                node = node.setdefault(key, {})
                if not isinstance(node, dict):
                    raise SpecError(f"--set {text}: '{key}' is not a mapping in {document.path}")
            if keys[-1] == "type" and node.get("type", value) != value:
                node.clear()  # the other keys were those of another type
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
    if "#" in raw and raw.lstrip()[:1] not in ("'", '"', "[", "{"):
        return path, raw.strip()  # a name, such as `IMG #2.png`: in a command nobody writes comments
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
    *(f"target.{k}" for k in Target.model_fields),
    *(f"early_terminate.{k}" for k in AshaSpec.model_fields | MedianSpec.model_fields),
]


def _document_keys(path: str, document: Document) -> list[str]:
    """The keys under which a schema path stands in the document: parameters have dots inside, single cases no index."""
    if path.startswith("metrics.0") and ("metric",) in document.lines:
        return ["metric", *path.split(".")[2:]]
    if path.startswith("start_from.0") and ("start_from", "0") not in document.lines:
        return [OLD_START if (OLD_START,) in document.lines else "start_from", *path.split(".")[2:]]
    if path.startswith("parameters."):
        rest = path.removeprefix("parameters.")
        for name in sorted(document.data.get("parameters") or {}, key=len, reverse=True):
            if rest == name or rest.startswith(f"{name}."):
                tail = [k for k in rest.removeprefix(name).split(".") if k]
                if tail and tail[0] == "0" and ("parameters", name, "0") not in document.lines:
                    tail = tail[1:]
                return ["parameters", name, *tail]
    return path.split(".") if path else []
