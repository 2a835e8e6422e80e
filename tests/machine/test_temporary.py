"""A temporary folder is its process's as long as that lives; afterwards the next process removes it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hoir_ray.machine import temporary
from hoir_ray.machine.temporary import folder_until_exit, left_folder, temporary_folder

_HOLDER = """
import sys
from hoir_ray.machine.temporary import temporary_folder
with temporary_folder("trial") as folder:
    (folder / "checkpoint").write_text("large")
    print(folder, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


def hold() -> tuple[subprocess.Popen[str], Path]:
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def make_one() -> None:
    """As the next process would: it looks once, with its first folder."""
    temporary._remove_left.cache_clear()
    with temporary_folder("trial"):
        pass


def test_what_a_killed_process_left_is_removed_and_what_a_living_one_holds_is_not(place: Path) -> None:
    living, kept = hold()
    killed, left = hold()
    killed.kill()
    killed.communicate()
    assert (left / "checkpoint").exists()
    make_one()
    assert not left.exists()
    assert (kept / "checkpoint").exists()
    living.communicate()
    assert list(place.iterdir()) == []


def test_other_folders_links_and_private_rays_stay(place: Path) -> None:
    (place / "precious").mkdir()
    (place / "precious" / "file").touch()
    (place / "hoir.trial-link").symlink_to(place / "precious")
    for name in ("hoir-trial-old", "hoirs", "hoir.ray-abc"):
        (place / name).mkdir()
    (place / "hoir.trial-file").touch()
    make_one()
    assert {p.name for p in place.iterdir()} == {
        *("precious", "hoir.trial-link", "hoir-trial-old", "hoirs", "hoir.ray-abc", "hoir.trial-file")
    }
    assert (place / "precious" / "file").exists()


def test_a_folder_of_another_user_is_not_left(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = place / "hoir.trial-other"
    folder.mkdir()
    with left_folder(folder) as is_left:
        assert is_left
    uid = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: uid + 1)
    with left_folder(folder) as is_left:
        assert not is_left


def test_a_forked_process_does_not_remove_its_parents_folder() -> None:
    folder = folder_until_exit("wandb")
    code = f"from hoir_ray.machine.temporary import _end; from pathlib import Path; _end(Path({str(folder)!r}), 0, 1)"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert folder.is_dir()
