"""`cluster/node` without Ray: its environment, its token, and what it refuses."""

from __future__ import annotations

import mmap
import re
import subprocess
from pathlib import Path

import ray

from tests.recipes.conftest import PROJECT, Site

NODE = PROJECT / "cluster" / "node"


def settings() -> dict[str, str]:
    lines = (PROJECT / "cluster" / "ray.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if not line.startswith("#"))


def node(site: Site, *arguments: str, given: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [NODE, *arguments],
        input=given,
        env={**site.environment, "HOIR_RAY_HOME": str(site.home / "node"), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_token_is_kept_for_its_owner_alone(site: Site) -> None:
    assert node(site, "token", given="0123456789abcdef" * 2).returncode == 0
    token = site.home / "node" / "token"
    assert (token.stat().st_mode & 0o777, token.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    refused = node(site, "token")
    assert (refused.returncode, refused.stderr) == (2, "cluster/node: no token on standard input\n")
    assert token.read_text() == "0123456789abcdef" * 2
    assert node(site, "clear").returncode == 0
    assert list(site.home.iterdir()) == []


def test_no_node_starts_without_a_token(site: Site) -> None:
    for action in ("head", "worker"):
        refused = node(site, action, "127.0.0.1:6379")
        assert refused.returncode == 2
        assert refused.stderr.startswith("cluster/node: no token at ")
    unknown = node(site, "restart")
    assert (unknown.returncode, unknown.stderr.count("\n")) == (2, 1)


def test_what_it_runs_has_the_settings_and_the_token_as_a_file(site: Site) -> None:
    ran = node(site, "run", "env", RAY_AUTH_TOKEN="elsewhere", RAY_AUTH_MODE="disabled")
    found = dict(line.split("=", 1) for line in ran.stdout.splitlines() if "=" in line)
    assert found.items() >= settings().items()
    assert found["RAY_AUTH_TOKEN_PATH"] == str(site.home / "node" / "token")
    assert "RAY_AUTH_TOKEN" not in found


def test_the_settings_are_plain_for_every_reader_and_known_to_ray() -> None:
    lines = (PROJECT / "cluster" / "ray.env").read_text().splitlines()
    assert all(line.startswith("#") or re.fullmatch(r"RAY_\w+=\w+", line) for line in lines)
    package = Path(ray.__file__).parent
    sources = [package / "core/src/ray/gcs/gcs_server", package / "core/src/ray/raylet/raylet"]
    sources += [package / "dashboard/modules/job/job_supervisor.py", package / "dashboard/consts.py"]
    sources += [package / "_common/usage/usage_constants.py"]
    for name in settings():
        # Ray's own configuration is known to its programs without the prefix, the rest by its full name.
        known = [name.encode(), name.removeprefix("RAY_").encode()]
        assert any(holds(source, words=known) for source in sources), f"{name} means nothing to Ray {ray.__version__}"


def holds(file: Path, *, words: list[bytes]) -> bool:
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return any(content.find(word) >= 0 for word in words)
