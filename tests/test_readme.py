"""The README promises nothing that is not there, and leaves nothing out that a newcomer would look for."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from hoir_ray.spec.document import parse_document
from hoir_ray.spec.load import build_spec

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_every_command_is_in_the_readme(hoir):
    commands = re.findall(r"^│ (\w[\w-]*) ", hoir("--help").out, re.MULTILINE)
    assert len(commands) > 9
    for command in commands:
        assert f"hoir {command}" in README, command


def test_every_room_is_in_the_tree():
    tree = README.split("## The tree")[1]
    for path in (ROOT / "hoir_ray").glob("*/__init__.py"):
        assert re.search(rf"\b{path.parent.name}/", tree), path


def test_the_tree_of_files_is_up_to_date():
    subprocess.run([sys.executable, ROOT / "scripts" / "tree", "--check"], check=True)


def test_every_link_and_script_is_there():
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", README)
    targets += re.findall(r"\b((?:scripts|sweeps|benchmarks|cluster|docs)/[\w./-]+\w)", README)
    assert targets
    for target in targets:
        assert (ROOT / target).exists(), target


@pytest.mark.parametrize("text", re.findall(r"```yaml\n(.*?)```", README, re.DOTALL))
def test_every_sweep_shown_is_a_valid_one(text):
    assert build_spec(parse_document(text, name="README.md")).parameters
