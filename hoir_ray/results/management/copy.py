"""Copies of whole sweeps between folders and buckets; the same command resumes one that was interrupted."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hoir_ray.errors import RequestError, StorageError
from hoir_ray.machine.files import to_json
from hoir_ray.machine.processes import user_and_host
from hoir_ray.results.ledger import LEDGER
from hoir_ray.results.management.contents import COPIED, contents_of, is_own, refuse_running
from hoir_ray.results.management.transfer import Object, Show, Transfer
from hoir_ray.results.sweep_results import SPEC, locate_sweep, read_spec
from hoir_ray.spec.document import dump_document, parse_document
from hoir_ray.spec.fields.names import check_sweep_name
from hoir_ray.spec.schema import SweepSpec
from hoir_ray.storage import MissingObjectError, Storage, StoredObject, acquire_lock, open_storage, read_lease
from hoir_ray.storage.keys import INPUTS
from hoir_ray.storage.lock import LEFT, LOCK
from hoir_ray.storage.manifest import MANIFEST

COPYING = " (hoir copy)"  # ends the name under which a copy holds the lock of what it makes
ADVICE = "stop it, or wait for its end"
_UNCOPIED = (SPEC, LOCK, LEFT, COPIED)  # the spec is written last, and with another name


@dataclass(frozen=True, kw_only=True)
class Copy:
    """A sweep that was copied.

    Attributes:
        sent, sent_bytes: Files that were written.
        equal: Files that were there already, with the same content.
        damaged: Files of the source that are not what their manifests say, copied as they are.
        foreign: Files beside the sweep that no sweep writes, which were left out.
    """

    storage: Storage
    sent: int
    sent_bytes: int
    equal: int
    damaged: Sequence[str]
    foreign: Sequence[str]


def locate_copy(to: str, source: Storage, *, endpoint_url: str | None = None) -> Storage:
    """The storage of a copy: a sweep's new name, folder or URI; with a closing slash, the root to copy it into."""
    if to.endswith("/") or re.fullmatch("s3://[^/]+", to):
        return open_storage(to.rstrip("/"), endpoint_url=endpoint_url).child(_name_of(source))
    return locate_sweep(to, endpoint_url=endpoint_url)


def copy_sweep(source: Storage, to: Storage, *, show: Show = lambda what, done, total: None) -> Copy:
    """Copy a sweep; what is there with equal content is not sent again.

    The copy is a sweep of its new name: its spec names itself and its storage, so that it resumes as it is.

    Args:
        show: Is told how many bytes are done, and of how many.

    Raises:
        RequestError: If the source is no sweep or runs, or the destination holds anything but a copy of it that
            nobody has run since.
        StorageError: If something cannot be read or written, or the source has changed meanwhile.
    """
    contents = contents_of(source)
    spec = read_spec(source)
    if spec is None:
        raise RequestError(f"{source.uri}: has trials and no {SPEC}, so its copy would be no sweep")
    refuse_running(source, advice=ADVICE)
    _refuse_place(source, to)
    with acquire_lock(to, owner=user_and_host() + COPYING) as lock:
        to.put(COPIED, to_json({"from": source.describe()}))
        objects = [o for o in contents.own if o.key not in _UNCOPIED]
        transfer = Transfer(source, to, show=show)
        transfer.run(_in_order(objects), before=_inputs(spec, source, to))
        known = {o.key for o in objects}
        to.delete_keys([o.key for o in to.list() if is_own(o.key) and o.key not in known and o.key not in _UNCOPIED])
        if [_version(o) for o in contents_of(source).own] != [_version(o) for o in contents.own]:
            raise StorageError(f"{source.uri}: has changed while it was copied; run the same command again")
        to.put(SPEC, _renamed(source, to))
        lock.discard()
    return Copy(
        storage=to,
        sent=transfer.num_sent,
        sent_bytes=transfer.sent_bytes,
        equal=transfer.num_equal,
        damaged=tuple(sorted(transfer.damaged)),
        foreign=tuple(o.key for o in contents.foreign),
    )


def _refuse_place(source: Storage, to: Storage) -> None:
    if to.folder is not None and to.folder.is_symlink():
        raise RequestError(f"{to.uri}: is a link; name the folder that it leads to")
    try:
        check_sweep_name(_name_of(to))
    except ValueError as error:
        raise RequestError(f"{to.uri}: the copy's name {error}, got {_name_of(to)!r}") from None
    here, there = _place_of(source), _place_of(to)
    if here == there or here in there.parents or there in here.parents:
        raise RequestError(f"{to.uri}: a sweep is not copied onto or into itself; choose another place")
    objects = to.list()
    if not objects:
        return
    if _origin(to) != source.describe():
        raise RequestError(f"{to.uri}: already holds something else; choose another name, or 'hoir remove' it first")
    lease = read_lease(to)
    if lease is not None and not lease.owner.endswith(COPYING):
        raise RequestError(f"{to.uri}: was run after it had been copied; choose another name")


def _origin(to: Storage) -> str | None:
    """The sweep of which a folder holds a copy."""
    try:
        return json.loads(to.get(COPIED))["from"]
    except (MissingObjectError, ValueError, KeyError, TypeError):
        return None


def _in_order(objects: Sequence[StoredObject]) -> list[list[StoredObject]]:
    """Groups that follow each other: manifests after what they vouch for, records after the models that they name."""
    groups: tuple[list[StoredObject], ...] = ([], [], [])
    for each in objects:
        in_ledger, is_manifest = each.key.startswith(f"{LEDGER}/"), each.key.endswith(f"/{MANIFEST}")
        groups[2 if in_ledger else 1 if is_manifest else 0].append(each)
    return list(groups)


def _inputs(spec: SweepSpec, source: Storage, to: Storage) -> list[Object]:
    """Data that was stored for machines that lack it, which lies beside the sweeps of its root."""
    digests = sorted({key.split("/")[0] for key in spec.inputs.values()})
    if not digests:
        return []
    here, there = _root_of(source), _root_of(to)
    if here.describe() == there.describe():
        return []
    found: list[Object] = []
    for prefix in (f"{INPUTS}/{digest}" for digest in digests):
        if not there.exists(f"{prefix}/{MANIFEST}"):
            objects = sorted(here.list(prefix), key=lambda o: o.key.endswith(f"/{MANIFEST}"))
            found += [Object(o, here, there) for o in objects]
    return found


def _renamed(source: Storage, to: Storage) -> bytes:
    """The spec with the copy's name and storage."""
    data: dict[str, Any] = dict(parse_document(source.get(SPEC).decode(), name=f"{source.uri}/{SPEC}").data)
    root, endpoint_url = _root_of(to), to.endpoint_url
    data["name"] = _name_of(to)
    data["storage"] = {"uri": root.uri, **({"endpoint_url": endpoint_url} if endpoint_url else {})}
    return dump_document(data).encode()


def _place_of(storage: Storage) -> Path:
    """A path by which the places of two storages can be compared."""
    server = storage.endpoint_url or ""
    return Path(storage.uri).resolve() if storage.folder is not None else Path(f"{server}//{storage.uri}")


def _root_of(sweep: Storage) -> Storage:
    """The storage that holds a sweep."""
    return open_storage(sweep.uri.rpartition("/")[0] or "/", endpoint_url=sweep.endpoint_url)


def _name_of(sweep: Storage) -> str:
    return sweep.uri.removeprefix("s3://").rpartition("/")[2]


def _version(found: StoredObject) -> tuple[object, ...]:
    return found.key, found.size_bytes, found.modified
