"""Objects sent from one storage to another, several at a time, but for those that are there with equal content."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from hoir_ray.errors import PackError
from hoir_ray.machine.files import open_regular
from hoir_ray.machine.temporary import temporary_folder
from hoir_ray.storage import Storage, StoredObject
from hoir_ray.storage.manifest import MANIFEST, Entry, read_manifest

AT_A_TIME = 8
Show = Callable[[str, int, int], None]
"""Is told what is done, how many bytes of it are, and of how many."""


@dataclass(frozen=True)
class Object:
    """An object, and between which storages it goes under the same key."""

    found: StoredObject
    source: Storage
    to: Storage


class Transfer:
    """Sends objects.

    Attributes:
        num_sent, sent_bytes: Objects that were written.
        num_equal: Objects that were there already.
        damaged: Keys of what was sent and is not what a manifest says of it.
    """

    def __init__(self, source: Storage, to: Storage, *, show: Show) -> None:
        self.num_sent = self.sent_bytes = self.num_equal = 0
        self.damaged: list[str] = []
        self._source, self._to, self._show = source, to, show
        self._done, self._total = 0, 0
        self._there: dict[str, StoredObject] = {}
        self._expected: dict[str, Entry] = {}
        self._lock = threading.Lock()

    def run(self, groups: Sequence[Sequence[StoredObject]], *, before: Sequence[Object] = ()) -> None:
        """Send groups of objects, one group after the other.

        Args:
            before: Objects that are sent first, one after the other.

        Raises:
            StorageError: If one cannot be read or written.
        """
        self._there = {o.key: o for o in self._to.list()}
        self._total = sum(o.size_bytes for group in groups for o in group) + sum(o.found.size_bytes for o in before)
        self._show("copying", 0, self._total)
        self._expected = self._read_manifests([o for group in groups for o in group])
        with temporary_folder("copy") as temp:
            for number, each in enumerate(before):
                self._send(each, temp / f"input-{number}", there=None)
            for group in groups:
                self._run(group, temp)

    def _run(self, group: Sequence[StoredObject], temp: Path) -> None:
        pool = ThreadPoolExecutor(AT_A_TIME, thread_name_prefix="hoir-copy")
        try:
            jobs = [
                pool.submit(
                    self._send, Object(found, self._source, self._to), temp / str(n), there=self._there.get(found.key)
                )
                for n, found in enumerate(group)
            ]
            for job in jobs:
                job.result()
        finally:
            pool.shutdown(cancel_futures=True)

    def _send(self, each: Object, temp: Path, *, there: StoredObject | None) -> None:
        key, size = each.found.key, each.found.size_bytes
        try:
            is_equal = there is not None and _is_equal(each, there, temp)
            if not is_equal:
                path = _on_this_machine(each.source, key, temp)
                self._check(each, path)
                each.to.put_file(key, path)
        finally:
            temp.unlink(missing_ok=True)
        with self._lock:
            self.num_equal += is_equal
            self.num_sent += not is_equal
            self.sent_bytes += 0 if is_equal else size
            self._done += size
            self._show("copying", self._done, self._total)

    def _check(self, each: Object, path: Path) -> None:
        entry = self._expected.get(each.found.key) if each.source is self._source else None
        try:
            if entry is not None:
                entry.check(Entry.of_file(path), where=each.found.key)
        except PackError:
            with self._lock:
                self.damaged.append(each.found.key)

    def _read_manifests(self, objects: Sequence[StoredObject]) -> dict[str, Entry]:
        """Read the manifests' entries of each object; those that cannot be read have none."""
        keys = [o.key for o in objects if o.key.endswith(f"/{MANIFEST}")]
        with ThreadPoolExecutor(AT_A_TIME) as pool:
            found = dict(zip(keys, pool.map(self._read_manifest, keys), strict=True))
        return {f"{k.removesuffix(MANIFEST)}{n}": e for k, files in found.items() for n, e in files.items()}

    def _read_manifest(self, key: str) -> dict[str, Entry]:
        try:
            return dict(read_manifest(self._source.get(key), where=key))
        except PackError:
            with self._lock:
                self.damaged.append(key)
            return {}


def _on_this_machine(storage: Storage, key: str, temp: Path) -> Path:
    if storage.folder is not None:
        return storage.folder / key
    storage.get_file(key, temp)
    return temp


def _is_equal(each: Object, there: StoredObject, temp: Path) -> bool:
    """Return whether both objects have the same content; read only where no checksum tells it."""
    if there.size_bytes != each.found.size_bytes:
        return False
    sums = [_md5(each.source, each.found), _md5(each.to, there)]
    if None not in sums:
        return sums[0] == sums[1]
    contents = []
    for storage in (each.source, each.to):
        contents.append(Entry.of_file(_on_this_machine(storage, there.key, temp)))
        temp.unlink(missing_ok=True)
    return contents[0] == contents[1]


def _md5(storage: Storage, found: StoredObject) -> str | None:
    """The MD5 of an object's content where it is known without a download: servers give it as the etag of one part."""
    if storage.folder is not None:
        with open_regular(storage.folder / found.key) as file:
            return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    etag = (found.etag or "").strip('"')
    return etag if re.fullmatch("[0-9a-f]{32}", etag) else None
