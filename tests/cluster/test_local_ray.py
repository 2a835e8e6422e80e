"""Messages of a private Ray that does not start."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from hoir_ray.cluster import local_ray
from hoir_ray.cluster.paths import without_current_folder, without_driver_paths
from hoir_ray.errors import RequestError
from hoir_ray.machine.processes import user_and_host


def test_an_installation_with_a_space_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/home/ada/my venv/bin/python")
    with pytest.raises(RequestError, match=r"^/home/ada/my venv/bin/python: Ray cannot start from a path with a space"):
        local_ray.refuse_spaces()


def test_overloaded_or_full_is_said_where_it_is_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "home" / "ray"
    folder.parent.mkdir()
    monkeypatch.setattr(os, "getloadavg", lambda: (0.5, 0.5, 0.5))
    assert local_ray._strain(folder) == ""
    monkeypatch.setattr(os, "getloadavg", lambda: (9.0 * (os.cpu_count() or 1), 1.0, 1.0))
    assert "overloaded (load " in local_ray._strain(folder)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1_000_000))
    assert f"{tmp_path} is full (1" in local_ray._strain(folder)


def test_ray_adds_no_folder_of_the_driver_to_its_workers_paths() -> None:
    config = without_driver_paths()
    config._py_driver_sys_path.extend(["/where/the/user/stands"])
    assert list(config._get_proto_job_config().py_driver_sys_path) == list(config._py_driver_sys_path)
    assert "/where/the/user/stands" not in config._py_driver_sys_path


@pytest.mark.parametrize(
    ("given", "kept"), [(None, None), ("", None), (":/a", "/a"), ("/a::/b:", "/a:/b"), (".", None), ("/a", "/a")]
)
def test_an_empty_entry_of_pythonpath_is_the_current_folder(given: str | None, kept: str | None) -> None:
    assert without_current_folder(given) == kept


def test_a_user_may_have_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000)
    assert user_and_host().startswith("uid4000000@")
