"""Folders of files that count only with a manifest: sha256 and size of each, written last and checked on reading."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from hoir_ray.errors import PackError, RequestError
from hoir_ray.machine.files import open_regular, replacing
from hoir_ray.storage.contract import MissingObjectError
from hoir_ray.storage.keys import check_key

MANIFEST = "manifest.json"


class Objects(Protocol):
    """The part of a Storage that folders are made of."""

    def describe(self) -> str: ...

    def get(self, key: str) -> bytes: ...

    def get_file(self, key: str, path: Path) -> None: ...

    def put(self, key: str, data: bytes, *, if_absent: bool = False) -> bool: ...

    def put_file(self, key: str, path: Path) -> None: ...


def put_folder(storage: Objects, prefix: str, folder: Path) -> None:
    """Upload every file of `folder` and then its manifest, which is made here unless the folder brings one.

    Raises:
        PackError: If the folder is not what its own manifest says.
    """
    if not folder.is_dir():
        raise PackError(f"{folder}: is not a folder")
    given = folder / MANIFEST
    manifest = given.read_bytes() if given.is_file() else _make_manifest(folder)
    files = read_manifest(manifest, where=str(given))
    for name, facts in files.items():
        _verify(folder / name, facts, where=str(folder / name))
    for name in files:
        storage.put_file(f"{prefix}/{name}", folder / name)
    storage.put(f"{prefix}/{MANIFEST}", manifest)


def get_folder(storage: Objects, prefix: str, folder: Path) -> None:
    """Download into `folder`, whose manifest comes last, so that an interrupted download does not count either."""
    where = f"{storage.describe()}: '{prefix}'"
    try:
        manifest = storage.get(f"{prefix}/{MANIFEST}")
    except MissingObjectError as error:
        raise MissingObjectError(f"{where} has no {MANIFEST}, so it was never written completely") from error
    files = read_manifest(manifest, where=where)
    (folder / MANIFEST).unlink(missing_ok=True)
    for name, facts in files.items():
        try:
            storage.get_file(f"{prefix}/{name}", folder / name)
        except MissingObjectError as error:
            raise PackError(f"{where}: {name} is listed in {MANIFEST} but missing") from error
        try:
            _verify(folder / name, facts, where=f"{where}: {name}")
        except PackError:
            (folder / name).unlink()
            raise
    with replacing(folder / MANIFEST) as file:
        file.write(manifest)


def read_manifest(data: bytes, *, where: str) -> Mapping[str, Mapping[str, Any]]:
    """The files of a manifest by name, when it is one and its names are safe.

    Raises:
        PackError: If it is not of the form `{"files": {name: {"sha256": hex, "size_bytes": int}}}`.
    """
    try:
        files = json.loads(data)["files"]
        for name, facts in files.items():
            check_key(name)
            if not (len(facts["sha256"]) == 64 and int(facts["sha256"], 16) >= 0 and int(facts["size_bytes"]) >= 0):
                raise ValueError(name)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, RequestError) as error:
        raise PackError(f"{where}: {MANIFEST} is broken: {type(error).__name__}: {str(error)[:120]}") from error
    return files


def _make_manifest(folder: Path) -> bytes:
    names = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    files = {n: {"sha256": _sha256(folder / n), "size_bytes": (folder / n).stat().st_size} for n in names}
    return json.dumps({"files": files}, indent=1).encode()


def _verify(path: Path, facts: Mapping[str, Any], *, where: str) -> None:
    if not path.is_file():
        raise PackError(f"{where}: is listed in {MANIFEST} but missing")
    size = path.stat().st_size
    if size != facts["size_bytes"]:
        raise PackError(f"{where}: has {size} bytes where {MANIFEST} says {facts['size_bytes']}")
    if _sha256(path) != facts["sha256"]:
        raise PackError(f"{where}: its sha256 is not the one in {MANIFEST}; the content was changed or damaged")


def _sha256(path: Path) -> str:
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
