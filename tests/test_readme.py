"""The README promises nothing that is not there, and leaves nothing out that a newcomer would look for."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hoir_ray.document import parse_document
from hoir_ray.spec import build_spec

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_every_command_is_in_the_readme(hoir):
    commands = re.findall(r"^│ (\w+) ", hoir("--help").out.split("Commands")[1], re.MULTILINE)
    assert len(commands) > 9
    for command in commands:
        assert f"hoir {command}" in README, command


def test_every_module_has_its_line_in_the_tree():
    tree = README.split("## The tree")[1]
    for path in (ROOT / "hoir_ray").rglob("*.py"):
        if path.name not in ("__init__.py", "__main__.py") and "tasks/" not in str(path) and "_wandb" not in str(path):
            assert re.search(rf"\b{re.escape(path.name)}", tree), path


def test_every_link_and_script_is_there():
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", README)
    targets += re.findall(r"\b((?:scripts|sweeps|benchmarks|cluster|docs)/[\w./-]+\w)", README)
    assert targets
    for target in targets:
        assert (ROOT / target).exists(), target


@pytest.mark.parametrize("text", re.findall(r"```yaml\n(.*?)```", README, re.DOTALL))
def test_every_sweep_shown_is_a_valid_one(text):
    assert build_spec(parse_document(text, name="README.md")).parameters
