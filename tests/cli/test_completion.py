"""Completion with Tab: in a real bash, zsh and fish where they are installed, and what each shell is told."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hoir_ray.storage import open_storage
from tests.report.made import TEXT, made_sweep

HOIR = Path(sys.executable).parent / "hoir"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working directory with two sweeps, and folders beside them that are none."""
    made_sweep(tmp_path / "hoir-runs", num_trials=3)
    made_sweep(tmp_path / "hoir-runs", num_trials=2, text=TEXT.replace("name: made", "name: magic"))
    runs = open_storage(str(tmp_path / "hoir-runs"))
    runs.child("mayhem").put("notes.txt", b"no sweep")
    for name in ("ma$(touch pwned)", "ma'x", 'ma"x', "ma x", "ma;x", "ma\\x", "-ma"):
        (tmp_path / "hoir-runs" / name).mkdir()
        (tmp_path / "hoir-runs" / name / "spec.yaml").write_text("name: x")
    (tmp_path / "sweep.yaml").write_text(TEXT)
    return tmp_path


def complete(line: str, *, folder: Path, shell: str = "bash") -> tuple[list[str], str]:
    """What the shell is told of the words that could stand at the line's end, and what is printed besides."""
    words = line.split(" ")
    environment = {
        **os.environ,
        "_HOIR_COMPLETE": f"complete_{shell}",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
        "_TYPER_COMPLETE_ARGS": line,
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }
    done = subprocess.run([HOIR], cwd=folder, env=environment, capture_output=True, text=True, check=False)
    return done.stdout.split(), done.stderr


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("hoir best ", ["made", "magic"]),
        ("hoir best mad", ["made"]),
        ("hoir remove hoir-runs/mag", ["hoir-runs/magic"]),
        ("hoir best ./hoir-runs/ma", ["./hoir-runs/made", "./hoir-runs/magic"]),
        ("hoir compare made mag", ["magic"]),
        ("hoir explain made ", ["t0001", "t0002", "t0003"]),
        ("hoir explain hoir-runs/magic t", ["t0001", "t0002"]),
        ("hoir pull made --trial t0003", ["t0003"]),
        ("hoir sweep sweep.yaml --promote ", ["t0001", "t0002", "t0003"]),
        ("hoir best nothing", []),
        ("hoir explain nothing t", []),
        ("hoir explain s3://bucket/made t", []),
        ("hoir best s3://bucket/ma", []),
        ("hoir best /no/such/folder/ma", []),
        ("hoir best ../../../../../etc/pass", []),
        ("hoir sweep missing.yaml --promote t", []),
        ("hoir pull --trial t", []),
    ],
)
def test_what_is_completed(folder: Path, line: str, expected: list[str]) -> None:
    found, printed = complete(line, folder=folder)
    assert (sorted(found), printed) == (expected, "")


def test_nothing_heavy_is_imported_and_no_bucket_asked(folder: Path) -> None:
    code = (
        "import sys\nfrom hoir_ray.cli.completion import complete_sweep, complete_trial\n"
        "class Context: params = {'sweep': 'made'}; args = []\n"
        "assert complete_sweep('') and complete_trial(Context, '')\n"
        "assert not complete_sweep('s3://bucket/')\n"
        "print([m for m in ('torch', 'ray', 'optuna', 'pandas', 'boto3', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_it_installs_itself(folder: Path) -> None:
    environment = {**os.environ, "HOME": str(folder)}
    done = subprocess.run(
        [HOIR, "--install-completion", "bash"], env=environment, cwd=folder, capture_output=True, text=True, check=True
    )
    assert "installed" in done.stdout
    assert "hoir" in (folder / ".bashrc").read_text()


SHELLS = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], "source {script}"),
    "zsh": (["zsh", "-f", "-i"], "autoload -Uz compinit; compinit -u; source {script}"),
    "fish": (["fish", "--no-config", "-i"], "source {script}"),
}


@pytest.mark.parametrize("shell", SHELLS)
def test_a_real_shell_completes_with_tab(folder: Path, shell: str) -> None:
    command, setup = SHELLS[shell]
    if shutil.which(command[0]) is None:
        pytest.skip(f"there is no {shell} on this machine")
    environment = {**os.environ, "PATH": f"{HOIR.parent}:{os.environ['PATH']}", "HOME": str(folder), "TERM": "dumb"}
    script = subprocess.run(
        [sys.executable, "-c", SCRIPT, shell], capture_output=True, text=True, check=True, env=environment
    ).stdout
    (folder / "script").write_text(script)
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(folder)
        os.execvpe(command[0], command, environment)
    try:
        os.write(terminal, f"{setup.format(script=folder / 'script')}; echo rea''dy\n".encode())
        wait_for(terminal, "ready")
        os.write(terminal, b"hoir explain mad\t")
        wait_for(terminal, "made ")
        os.write(terminal, b"t0003\t--json\n")
        shown = wait_for(terminal, '"number": 3')
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        os.close(terminal)
    assert "Traceback" not in shown
    assert not (folder / "pwned").exists()


SCRIPT = """
import sys
from typer._completion_shared import get_completion_script
print(get_completion_script(prog_name="hoir", complete_var="_HOIR_COMPLETE", shell=sys.argv[1]))
"""


def wait_for(terminal: int, text: str, *, within_s: float = 60.0) -> str:
    shown, end = "", time.monotonic() + within_s
    while text not in shown:
        assert time.monotonic() < end, f"no {text!r} in: {shown[-2000:]!r}"
        if select.select([terminal], [], [], 0.5)[0]:
            shown += os.read(terminal, 10_000).decode(errors="replace")
    return shown
