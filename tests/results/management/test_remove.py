"""Removal of sweeps, in a folder and on a real S3 server."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from hoir_ray.errors import RequestError, StorageError
from hoir_ray.results.management.contents import contents_of
from hoir_ray.results.management.remove import remove_sweep
from hoir_ray.results.management.storage_root import StorageRoot
from hoir_ray.results.sweep_results import SPEC
from hoir_ray.storage import LockedError, Storage, acquire_lock, open_storage
from tests.report.made import made_sweep

KILLED = """
import os, sys
from hoir_ray.storage import acquire_lock, open_storage
acquire_lock(open_storage(sys.argv[1], endpoint_url=sys.argv[2] or None), owner="me")
os._exit(9)
"""


def put_sweep(root: Storage, name: str, *, tmp_path: Path) -> Storage:
    """A made sweep of 12 trials under a name, in any storage."""
    made = made_sweep(tmp_path / "made-elsewhere", num_trials=12).storage
    for found in made.list():
        root.put(f"{name}/{found.key}", made.get(found.key))
    return root.child(name)


def test_all_that_a_sweep_wrote_goes_and_nothing_else(root: Storage, tmp_path: Path) -> None:
    sweep = put_sweep(root, "a", tmp_path=tmp_path)
    put_sweep(root, "ab", tmp_path=tmp_path)
    others = [o.key for o in root.child("ab").list()]
    contents = contents_of(sweep)
    assert contents.num_trials == 12
    assert contents.size_bytes == sum(o.size_bytes for o in sweep.list())
    told: list[tuple[int, int]] = []
    left = remove_sweep(sweep, contents, show=lambda _, done, total: told.append((done, total)))
    assert left == []
    assert told[-1][0] <= told[-1][1] == contents.size_bytes
    assert [e.name for e in StorageRoot(root).sweeps()] == ["ab"]
    assert [o.key for o in root.child("ab").list()] == others
    with pytest.raises(RequestError, match="there is nothing"):
        contents_of(sweep)


def test_what_no_sweep_wrote_stays_and_is_named(root: Storage, tmp_path: Path) -> None:
    sweep = put_sweep(root, "a", tmp_path=tmp_path)
    sweep.put("report.html", b"mine")
    sweep.put("notes/today.txt", b"mine")
    left = remove_sweep(sweep, contents_of(sweep))
    assert sorted(o.key for o in sweep.list()) == ["notes/today.txt", "report.html"]
    assert [name.split("/")[0] for name in left] == ["notes", "report.html"]


def test_a_running_one_is_refused(root: Storage, tmp_path: Path) -> None:
    sweep = put_sweep(root, "a", tmp_path=tmp_path)
    before = [o.key for o in sweep.list()]
    with acquire_lock(sweep, owner="ada@here"), pytest.raises(LockedError, match="ada@here"):
        remove_sweep(sweep, contents_of(sweep))
    assert [o.key for o in sweep.list() if not o.key.startswith("lock")] == before


def test_what_is_no_sweep_is_refused(root: Storage) -> None:
    root.child("photos").put("cat.png", b"")
    root.child("chart").put("spec.yaml", b"replicas: 3\n")
    root.child("list").put("spec.yaml", b"- 1\n")
    root.child("locked").put("lock.json", b'{"name": "somebody else\'s"}')
    for name in ("photos", "chart", "list", "locked"):
        with pytest.raises(RequestError, match="not a sweep's folder"):
            contents_of(root.child(name))
    with pytest.raises(RequestError, match="there is nothing"):
        contents_of(root.child("none"))


def test_broken_ones_can_be_removed(root: Storage, tmp_path: Path) -> None:
    for name in ("torn", "bare"):
        put_sweep(root, name, tmp_path=tmp_path)
    root.child("torn").put(SPEC, b"name: [")
    root.child("bare").delete(SPEC)
    for name in ("torn", "bare"):
        remove_sweep(root.child(name), contents_of(root.child(name)))
    assert root.list() == []


@pytest.mark.parametrize("spec", [b"", b"name: ["], ids=["whole", "torn spec"])
def test_an_interrupted_removal_can_be_repeated(root: Storage, tmp_path: Path, spec: bytes) -> None:
    """Ended after any one of its deletions, it is still known for a sweep."""
    sweep = put_sweep(root, "a", tmp_path=tmp_path)
    if spec:
        sweep.put(SPEC, spec)
    # The lock of a process that was killed while it removed: it stays, as nobody gave it back.
    endpoint = sweep.endpoint_url or ""
    subprocess.run([sys.executable, "-c", KILLED, sweep.uri, endpoint], check=False)
    for found in sweep.list():
        if found.key != "lock.json":
            sweep.delete(found.key)
            contents_of(sweep)
    assert remove_sweep(sweep, contents_of(sweep)) == []
    assert root.list() == []


def test_no_name_leads_out_of_the_root(hoir, tmp_path: Path) -> None:
    outside = made_sweep(tmp_path / "outside", num_trials=3).storage
    made_sweep(tmp_path / "hoir-runs", num_trials=3)
    (tmp_path / "hoir-runs" / "link").symlink_to(outside.uri)
    for name in ("..", ".", "", "link", "a\nb"):
        ended = hoir("remove", name, "--yes")
        assert ended.code == 2, name
        assert len(ended.err.splitlines()) == 1
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").write_text("mine")
    (tmp_path / "hoir-runs" / "made" / "models").symlink_to(tmp_path / "precious")
    made = open_storage(str(tmp_path / "hoir-runs")).child("made")
    contents = contents_of(made)
    with pytest.raises(StorageError, match="leads outside"):
        remove_sweep(made, contents)
    assert (tmp_path / "precious" / "file").read_text() == "mine"
    assert outside.exists(SPEC)


def test_the_command_asks(hoir, tmp_path: Path) -> None:
    made = made_sweep(tmp_path / "hoir-runs", num_trials=3).storage
    nobody = hoir("remove", "made")
    assert (nobody.code, "add --yes" in nobody.err) == (2, True)
    for answer, code in (("n", 1), ("y", 0)):
        assert made.exists(SPEC)
        ours, theirs = pty.openpty()
        command = [sys.executable, "-m", "hoir_ray", "remove", "made"]
        with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=tmp_path) as process:
            os.close(theirs)
            os.write(ours, f"{answer}\n".encode())
            shown = _read_all(ours)
        assert process.returncode == code, shown
        assert "hoir-runs/made: " in shown
        assert "3 trials; remove it for good? [y/N]" in shown
    assert not Path(made.uri).exists()
    assert "are free again" in shown


def _read_all(terminal: int) -> str:
    shown = b""
    try:
        while chunk := os.read(terminal, 1000):
            shown += chunk
    except OSError:  # the other side is closed
        pass
    return shown.decode()


def test_the_command_refuses_and_removes(hoir, tmp_path: Path) -> None:
    made = made_sweep(tmp_path / "hoir-runs", num_trials=3).storage
    with acquire_lock(made, owner="ada@here"):
        refused = hoir("remove", "made", "--yes")
    assert refused.code == 2
    assert "ada@here" in refused.err
    assert "stop it first" in refused.err
    removed = hoir("remove", "made", "--yes")
    assert (removed.code, removed.err) == (0, "")
    assert removed.out.startswith("removed hoir-runs/made: ")
