"""Compiles a C file of this package for the machine at hand, once, and keeps the library for later processes."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

from hoir_ray.machine.cache import cache_folder, is_private
from hoir_ray.machine.temporary import temporary_folder

logger = logging.getLogger(__name__)

# Neither flag changes a result: they drop errno and the order of floating-point exceptions, which nothing here reads.
FLAGS = ("-O3", "-march=native", "-std=gnu11", "-fno-math-errno", "-fno-trapping-math", "-fPIC", "-shared", "-pthread")
COMPILE_TIMEOUT_S = TEST_TIMEOUT_S = 600  # compiling takes ten times as long beside other busy processes
REFUSED_CODE = 3  # of a test that found a library wrong


class RefusedError(Exception):
    """A library that its test found wrong."""


def load(source: Path, *, defines: tuple[str, ...] = (), test: tuple[str, ...] = ()) -> ctypes.CDLL | None:
    """The compiled library, or None, with a warning in the log, where this machine cannot compile.

    Its file is named after the sources beside it, the flags and the processor, so that machines sharing a home do not
    mix theirs up. Processes may compile at the same time; each puts its file in place whole.

    Args:
        test: Module and arguments, run once as a separate process with the path of a new library behind them. Where
            it ends with REFUSED_CODE, its last line is the reason, or is killed by a signal, as by an instruction that
            the processor lacks, the library is refused, in later processes too.
    """
    compiler = find_compiler()
    command = [*FLAGS, *(f"-D{define}" for define in defines)]
    sources = [path.read_text() for path in sorted(source.parent.glob("*.[ch]"))]
    key = "\0".join([*sources, *command, _processor()])
    target = cache_folder() / f"{source.stem}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.so"
    refusal = target.with_suffix(".refused")
    try:
        if refusal.exists():
            raise RefusedError(f"{refusal.read_text()} (delete {refusal} to try again)")
        if not is_private(target, of_folder=False):  # what lies there is run
            if compiler is None:
                raise FileNotFoundError("found none of cc, gcc and clang")
            _compile([compiler, *command, str(source), "-lm"], target, test=test)
        return ctypes.CDLL(str(target))
    except (OSError, subprocess.SubprocessError, RefusedError) as error:
        stderr = getattr(error, "stderr", None) or ""
        _warn(" ".join(f"{error} {stderr}".split())[:300])
        return None


def find_compiler() -> str | None:
    """The C compiler on PATH that would be used."""
    return next((path for name in ("cc", "gcc", "clang") if (path := shutil.which(name))), None)


@functools.cache
def _warn(reason: str) -> None:
    """Log a reason once, not once for each file that it keeps from being compiled."""
    logger.warning("layers run in plain torch on the CPU, several times slower: %s", reason)


def _compile(command: list[str], target: Path, *, test: tuple[str, ...]) -> None:
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with temporary_folder("compile", within=target.parent) as folder:
        made = Path(folder) / target.name
        subprocess.run(  # noqa: S603 - the compiler found on PATH, over a file of this package
            [*command, "-o", str(made)], check=True, capture_output=True, text=True, timeout=COMPILE_TIMEOUT_S
        )
        made.chmod(0o700)
        if test:
            _test(test, made, refusal=target.with_suffix(".refused"))
        made.replace(target)


def _test(test: tuple[str, ...], made: Path, *, refusal: Path) -> None:
    ran = subprocess.run(  # noqa: S603 - a module of this package
        [sys.executable, "-m", *test, str(made)],
        capture_output=True,
        text=True,
        timeout=TEST_TIMEOUT_S,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    said = (ran.stdout.strip().splitlines() or [""])[-1]
    if ran.returncode < 0 or ran.returncode == REFUSED_CODE:
        reason = said if ran.returncode == REFUSED_CODE else f"killed by signal {-ran.returncode}"
        refusal.write_text(f"compiled code fails its test: {reason}")
        raise RefusedError(refusal.read_text())
    ran.check_returncode()


@functools.cache
def _processor() -> str:
    """Identify what -march=native depends on: the architecture and, on Linux, the instruction sets."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else [platform.processor()]
    named = ("flags", "Features", "model name", "CPU part")
    return "\n".join([platform.machine(), *sorted({line for line in lines if line.startswith(named)} or lines[:1])])
