"""Standard error with and without what native code writes there."""

from __future__ import annotations

import subprocess
import sys

START = """
import os, sys, threading
from hoir_ray.machine.interrupt import NATIVE_THREAD, end_process
from hoir_ray.machine.native_output import no_native_stderr
def native(text): os.write(2, text)
"""


def errors_of(program: str) -> list[str]:
    ran = subprocess.run([sys.executable, "-c", START + program], capture_output=True, text=True, check=True)
    return ran.stderr.splitlines()


def test_only_python_is_heard_meanwhile() -> None:
    program = """
with no_native_stderr():
    native(b"lost\\n")
    print("told \\udcff".encode(errors="replace").decode(), file=sys.stderr)
native(b"native again\\n")
print("python again", file=sys.stderr)
"""
    assert errors_of(program) == ["told ?", "native again", "python again"]


def test_a_thread_that_is_left_in_native_code_stays_unheard() -> None:
    program = """
left = threading.Event()
threading.Thread(target=left.wait, name=NATIVE_THREAD, daemon=True).start()
with no_native_stderr():
    pass
native(b"lost\\n")
print("told", file=sys.stderr)
end_process(0)
"""
    assert errors_of(program) == ["told"]


def test_without_a_standard_error() -> None:
    ran = subprocess.run(
        ["sh", "-c", f'exec {sys.executable} -c "$0" 2>&-', START + "with no_native_stderr(): print(1)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout == "1\n"
