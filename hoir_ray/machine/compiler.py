"""Compiles a C file of this package for the machine at hand, once, and keeps the library for later processes."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import logging
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

from hoir_ray.machine.cache import cache_folder

logger = logging.getLogger(__name__)

# Neither flag changes a result: they drop errno and the order of floating-point exceptions, which nothing here reads.
FLAGS = ("-O3", "-march=native", "-std=gnu11", "-fno-math-errno", "-fno-trapping-math", "-fPIC", "-shared")
COMPILE_TIMEOUT_S = 120


def load(source: Path, *, defines: tuple[str, ...] = ()) -> ctypes.CDLL | None:
    """The compiled library, or None, with a warning in the log, where this machine cannot compile.

    Its file is named after the sources beside it, the flags and the processor, so that machines sharing a home do not
    mix theirs up. Processes may compile at the same time; each puts its file in place whole.
    """
    compiler = next((path for name in ("cc", "gcc", "clang") if (path := shutil.which(name))), None)
    command = [*FLAGS, *(f"-D{define}" for define in defines)]
    sources = [path.read_text() for path in sorted(source.parent.glob("*.[ch]"))]
    key = "\0".join([*sources, *command, _processor()])
    target = cache_folder() / f"{source.stem}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.so"
    try:
        if not target.exists():
            if compiler is None:
                raise FileNotFoundError("found none of cc, gcc and clang")
            _compile([compiler, *command, str(source), "-lm"], target)
        return ctypes.CDLL(str(target))
    except (OSError, subprocess.SubprocessError) as error:
        stderr = getattr(error, "stderr", None) or ""
        _warn(" ".join(f"{error} {stderr}".split())[:300])
        return None


@functools.cache
def _warn(reason: str) -> None:
    """Log a reason once, not once for each file that it keeps from being compiled."""
    logger.warning("layers run in plain torch on the CPU, several times slower, for want of a C compiler: %s", reason)


def _compile(command: list[str], target: Path) -> None:
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        made = Path(folder) / target.name
        subprocess.run(  # noqa: S603 - the compiler found on PATH, over a file of this package
            [*command, "-o", str(made)], check=True, capture_output=True, text=True, timeout=COMPILE_TIMEOUT_S
        )
        made.replace(target)


@functools.cache
def _processor() -> str:
    """Identify what -march=native depends on: the architecture and, on Linux, the instruction sets."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else [platform.processor()]
    named = ("flags", "Features", "model name", "CPU part")
    return "\n".join([platform.machine(), *sorted({line for line in lines if line.startswith(named)} or lines[:1])])
