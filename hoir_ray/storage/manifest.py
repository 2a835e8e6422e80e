"""Folders of files that count only with a manifest: sha256 and size of each, written last and checked on reading."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from hoir_ray.errors import PackError, RequestError
from hoir_ray.machine.files import open_regular, read_regular, replacing
from hoir_ray.storage.contract import MissingObjectError
from hoir_ray.storage.keys import check_key

MANIFEST = "manifest.json"
MAX_MANIFEST_BYTES = 2**28


@dataclass(frozen=True, kw_only=True)
class Entry:
    """Digest and size of one file, as a manifest holds them."""

    sha256: str
    size_bytes: int

    @classmethod
    def of(cls, content: bytes) -> Entry:
        return cls(sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content))

    @classmethod
    def of_file(cls, path: Path) -> Entry:
        with open_regular(path) as file:
            return cls(sha256=hashlib.file_digest(file, "sha256").hexdigest(), size_bytes=file.tell())

    def check(self, found: Entry, *, where: str) -> None:
        """Compare with what was found.

        Raises:
            PackError: If it is not the same.
        """
        if found.size_bytes != self.size_bytes:
            raise PackError(
                f"{where}: damaged; it has {found.size_bytes} bytes where {MANIFEST} says {self.size_bytes}"
            )
        if found.sha256 != self.sha256:
            raise PackError(f"{where}: damaged or changed; its sha256 is not the one in {MANIFEST}")


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
    manifest = read_regular(given, max_bytes=MAX_MANIFEST_BYTES) if given.is_file() else _manifest_of(folder)
    files = read_manifest(manifest, where=str(given))
    for name, entry in files.items():
        _check_file(folder / name, entry, where=str(folder / name))
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
    for name, entry in files.items():
        try:
            storage.get_file(f"{prefix}/{name}", folder / name)
        except MissingObjectError as error:
            raise PackError(f"{where}: {name} is listed in {MANIFEST} but missing") from error
        try:
            _check_file(folder / name, entry, where=f"{where}: {name}")
        except PackError:
            (folder / name).unlink()
            raise
    with replacing(folder / MANIFEST) as file:
        file.write(manifest)


def make_manifest(entries: Mapping[str, Entry], **about: object) -> bytes:
    """The bytes of a manifest: `about`, and the files by name."""
    return json.dumps({**about, "files": {name: asdict(entry) for name, entry in entries.items()}}, indent=1).encode()


def read_manifest(data: bytes, *, where: str) -> Mapping[str, Entry]:
    """The files of a manifest by name, when it is one and its names are safe.

    Raises:
        PackError: If it is not of the form `{"files": {name: {"sha256": hex, "size_bytes": int}}}`.
    """
    entries = {}
    try:
        for name, given in json.loads(data)["files"].items():
            check_key(name)
            entry = Entry(sha256=str(given["sha256"]), size_bytes=int(given["size_bytes"]))
            if not (len(entry.sha256) == 64 and int(entry.sha256, 16) >= 0 and entry.size_bytes >= 0):
                raise ValueError(name)
            entries[name] = entry
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, RequestError) as error:
        raise PackError(f"{where}: {MANIFEST} is broken: {type(error).__name__}: {str(error)[:120]}") from error
    return entries


def _manifest_of(folder: Path) -> bytes:
    names = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    return make_manifest({name: Entry.of_file(folder / name) for name in names})


def _check_file(path: Path, entry: Entry, *, where: str) -> None:
    if not path.is_file():
        raise PackError(f"{where}: is listed in {MANIFEST} but missing")
    entry.check(Entry.of_file(path), where=where)
