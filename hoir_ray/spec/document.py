"""A YAML file as plain values, with the line of each key, so that every complaint can name its place."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from hoir_ray.errors import SpecError
from hoir_ray.machine.files import open_regular, read_at_most

MAX_BYTES = 100_000  # of a user's file, which is read within a second
MAX_RESOLVED_BYTES = 1_000_000  # of what is written from it, with every default filled in
MAX_DEPTH = 32


class _Loader(yaml.SafeLoader):
    """YAML 1.2's reading of plain words: `1e-3` is a number, `no` and `12:30:45` are strings."""


_Loader.yaml_implicit_resolvers = {}
for tag, pattern, first in (
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF"),
    ("int", r"^[-+]?(?:0x[0-9a-fA-F]+|0o[0-7]+|[0-9]+)$", "-+0123456789"),
    ("float", r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$", "-+.0123456789"),
    ("float", r"^[-+]?\.(?:inf|Inf|INF)$|^\.(?:nan|NaN|NAN)$", "-+."),
    ("null", r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("merge", r"^<<$", "<"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(pattern), list(first))


def _construct_int(loader: _Loader, node: yaml.ScalarNode) -> int:
    text = node.value
    return int(text, 0) if text.lstrip("+-")[:2] in ("0x", "0o") else int(text)


_Loader.add_constructor("tag:yaml.org,2002:int", _construct_int)


@dataclass(frozen=True)
class Document:
    """Plain values of a YAML file, and where each dotted key stands."""

    path: str
    data: dict[str, Any]
    lines: dict[tuple[str, ...], int] = field(default_factory=dict)

    @property
    def base(self) -> Path:
        """The folder that relative paths in the document start from: the one the file is in."""
        return Path(self.path).expanduser().absolute().parent

    def place(self, *keys: str) -> str:
        """`file:line` of the key, or of its nearest parent that is in the file."""
        for end in range(len(keys), 0, -1):
            if keys[:end] in self.lines:
                return f"{self.path}:{self.lines[keys[:end]]}"
        return self.path


def load_document(path: Path | str) -> Document:
    """Read a YAML mapping with none of YAML's surprises: no tags, anchors, duplicate keys or deep nesting.

    Raises:
        SpecError: With file and line, for anything that is not such a mapping.
    """
    path = Path(path)
    try:
        with open_regular(path) as file:
            _refuse_size(os.fstat(file.fileno()).st_size, most=MAX_BYTES, name=str(path))
            text = read_at_most(file, MAX_BYTES).decode("utf-8")
    except UnicodeDecodeError as error:
        raise SpecError(f"{path}: not a text file in UTF-8 ({error.reason} at byte {error.start})") from None
    except OSError as error:
        raise SpecError(f"{path}: cannot be read: {error.strerror}") from None
    return parse_document(text, name=str(path))


def parse_document(text: str, *, name: str) -> Document:
    """`load_document` of a text that is already at hand; `name` stands for the file in messages."""
    _refuse_size(len(text), most=MAX_RESOLVED_BYTES, name=name)
    try:
        _refuse_risky_events(text, name=name)
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            if not isinstance(node, yaml.MappingNode):
                raise SpecError(f"{name}: must be a mapping of keys to values, such as 'name: my-sweep'")
            lines: dict[tuple[str, ...], int] = {}
            _note_lines(node, keys=(), lines=lines, name=name)
            data = loader.construct_document(node)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{name}:{mark.line + 1}" if mark else name
        raise SpecError(f"{place}: not valid YAML: {error.problem or error.context}") from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        raise SpecError(f"{name}: not valid YAML: {str(error).splitlines()[0]}") from None
    return Document(path=name, data=data, lines=lines)


def dump_document(data: dict[str, Any]) -> str:
    """YAML text that `parse_document` reads back to the same values, keys in the order given."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


class _Dumper(yaml.SafeDumper):
    """Quotes by the same rules that `_Loader` reads by, and writes no anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


_Dumper.yaml_implicit_resolvers = {**yaml.SafeDumper.yaml_implicit_resolvers}
for first_letter, resolvers in _Loader.yaml_implicit_resolvers.items():
    _Dumper.yaml_implicit_resolvers[first_letter] = [
        *resolvers,
        *_Dumper.yaml_implicit_resolvers.get(first_letter, []),
    ]


def _refuse_size(size: int, *, most: int, name: str) -> None:
    if size > most:
        raise SpecError(f"{name}: a sweep YAML is at most {most:,} bytes, this one has {size:,}")


def _refuse_risky_events(text: str, *, name: str) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        place = f"{name}:{event.start_mark.line + 1}" if event.start_mark else name
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise SpecError(f"{place}: anchors and aliases (& and *) are not supported; write the value out")
        tag = getattr(event, "tag", None)
        if tag and not str(tag).startswith("tag:yaml.org,2002:"):
            raise SpecError(f"{place}: the tag {tag} is not supported")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise SpecError(f"{place}: nested deeper than {MAX_DEPTH} levels")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _note_lines(node: yaml.Node, *, keys: tuple[str, ...], lines: dict[tuple[str, ...], int], name: str) -> None:
    if isinstance(node, yaml.MappingNode):
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag != "tag:yaml.org,2002:str":
                raise SpecError(f"{name}:{line}: a key must be plain text, got '{getattr(key_node, 'value', '?')}'")
            path = (*keys, key_node.value)
            if path in lines:
                raise SpecError(f"{name}:{line}: '{key_node.value}' is given twice, first on line {lines[path]}")
            lines[path] = line
            _note_lines(value_node, keys=path, lines=lines, name=name)
    elif isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            path = (*keys, str(number))
            lines[path] = item.start_mark.line + 1
            _note_lines(item, keys=path, lines=lines, name=name)
