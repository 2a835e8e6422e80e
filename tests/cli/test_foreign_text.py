"""Foreign text on the terminal, and messages about input beyond every limit."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.text import Text

import hoir_ray
from hoir_ray.cli.terminal.console import Terminal, plain, styled
from hoir_ray.errors import RequestError
from hoir_ray.spec.conditions import parse_condition
from hoir_ray.wording import number, printable
from tests.report.made import made_sweep

HOSTILE = "\x1b]0;owned\x07\x1b[2J\x9b31m a\u202eb [/bold] [red]x[/red] \udcff\r\x08 end"


def run(*arguments, cwd=None, encoding="utf-8", **environment):
    done = subprocess.run(
        [sys.executable, "-m", "hoir_ray", *arguments],
        capture_output=True,
        cwd=cwd,
        env={**os.environ, "PYTHONIOENCODING": encoding, **environment},
        timeout=200,
        check=False,
    )
    return done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")


def steers(text):
    return [c for c in text if c not in "\n\t" and (ord(c) < 32 or 127 <= ord(c) < 160 or c in "\u202e\udcff")]


def test_nothing_in_foreign_text_steers_the_terminal_or_is_markup(tmp_path):
    with (tmp_path / "out").open("w+", encoding="utf-8") as file:
        console = Terminal(file=file, width=500, force_terminal=False)
        console.print(HOSTILE)
        console.print(plain(HOSTILE))
        console.print(styled((HOSTILE, "bold")))
        console.print(Text(HOSTILE, style="red"))
        file.seek(0)
        shown = file.read()
    assert not steers(shown)
    assert shown.count("[/bold] [red]x[/red]") == 4
    assert shown.count(r"\x1b]0;owned\x07") == 3  # rich drops those of its own Text
    assert printable("\x1b[1;32mgreen\x1b[0m and ünï ✓ 漢字\tas it is\n") == "green and ünï ✓ 漢字\tas it is\n"


def test_no_module_takes_foreign_text_for_markup():
    package = Path(hoir_ray.__file__).parent
    sources = {p: p.read_text() for p in package.rglob("*.py")}
    assert not [str(p) for p, text in sources.items() if "rich.markup" in text or re.search(r"\bConsole\(\)", text)]


def test_hostile_records_are_told_about_without_harm(tmp_path):
    made = made_sweep(tmp_path, num_trials=6, pictures=False)
    path = Path(made.storage.uri, "ledger", "t0001.json")
    record = json.loads(path.read_text())
    hostile = HOSTILE.replace("\udcff", "")
    record.update(reason=hostile, error=hostile, node=hostile, history=[f"2026-01-02T10:00:00 {hostile}"])
    record["curve"][0]["val_psnr_db"] = float("nan")
    record["best"]["val_psnr_db"] = float("inf")
    path.write_text(json.dumps(record))
    Path(made.storage.uri, "ledger", "snapshot.jsonl").unlink(missing_ok=True)
    for command in (["trials"], ["best"], ["explain", "t0001"]):
        code, out, err = run(command[0], made.storage.uri, *command[1:], encoding="ascii")
        assert (code, "bug" in err) == (0, False), err
        assert not steers(out + err)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["trials", "x" * 5000], "File name too long"),
        (["trials", b"caf\xe9"], "broken unicode"),
        (["validate", "x" * 5000], "File name too long"),
        (["render", b"\xff\xfe", "--out", "a[/b].png"], "no such model pack"),
        (["train", "image", "training.optimizer.lr=" + "9" * 6000], "training.optimizer.lr"),
        (["train", "image", "data.image=" + "x" * 5000], "File name too long"),
        (["evaluate", "no\x1b[31m\nsuch"], "no such model pack"),
    ],
    ids=["a long name", "latin-1", "a long file", "bytes", "a long number", "a long path", "escapes"],
)
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_input_beyond_every_limit_is_the_inputs_fault(arguments, complaint, encoding, tmp_path):
    code, out, err = run(*arguments, cwd=tmp_path, encoding=encoding)
    assert code == 2, err
    assert complaint in err
    assert "bug" not in err
    assert not steers(out + err)


def test_numbers_beyond_floating_point_are_compared_and_shown():
    condition = parse_condition(f"num_parameters * {'9' * 400} <= 1.5 or num_parameters / {'9' * 400} < 1")
    assert not condition.holds({"num_parameters": 5.5})
    assert condition.violation({"num_parameters": 5.5}) == 1.0
    assert [number(v) for v in (float("nan"), float("-inf"), 2.0)] == ["nan", "-inf", "2"]


def test_an_unknown_option_in_python_is_named():
    from hoir_ray.packs.render import read_options
    from hoir_ray.tasks import load_task

    with pytest.raises(RequestError, match=r"sise: unknown key. Did you mean 'size'\?"):
        read_options({"sise": "3x4"}, load_task("image"))
