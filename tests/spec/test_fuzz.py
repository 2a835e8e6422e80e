"""Sweep YAMLs that nobody meant: only our own error comes out, soon, and without filling the memory."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hoir_ray.errors import HoirError
from hoir_ray.spec.document import parse_document
from hoir_ray.spec.load import build_spec
from hoir_ray.sweep.planning.plan import plan_sweep
from tests.spec.test_spec import GOOD

WORDS = st.sampled_from(
    ["1e-3", "no", "12:30:45", ".nan", "-.inf", "~", "\0", "!!python/name:os.system", "&a", "*a", "<<", "[]", "{}", "?"]
    + ["training.seed: {min: 0, max: 4294967295}", "q: 1.0e-9", "when: {network.hidden.width: 5}", "1e308"]
    + ["9" * 400, "0x" + "f" * 400, "1e999", "-", ":", "|", ">", "'", '"', "%", "@", "\t", "\u2028", "\ufeff", "\ud7ff"]
)
LINES = [
    *GOOD.splitlines(),
    "method: grid",
    "constraints: [num_parameters <= 60000]",
    "trackers: {jsonl: {}}",
]


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """A good sweep with lines doubled, dropped, indented, or with words put into them."""
    lines = list(LINES)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(lines) - 1))
        act = draw(st.sampled_from(["double", "drop", "indent", "insert", "replace"]))
        line = lines[at]
        where = draw(st.integers(0, len(line)))
        word = draw(st.one_of(WORDS, st.text(max_size=8)))
        if act == "double":
            lines.insert(at, line)
        elif act == "drop" and len(lines) > 1:
            del lines[at]
        elif act == "indent":
            lines[at] = f"  {line}"
        elif act == "insert":
            lines[at] = line[:where] + word + line[where:]
        elif act == "replace":
            lines[at] = line[:where] + word
    return "\n".join(lines)


@given(mutated())
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_became_of_a_sweep_only_our_error_names_it(text: str) -> None:
    began, message = time.process_time(), "s.yaml"
    try:
        document = parse_document(text, name="s.yaml")
        plan_sweep(build_spec(document), document)
    except HoirError as error:
        message = str(error)
    assert "s.yaml" in message
    assert time.process_time() - began < 2


BOMBS = {
    "laughs": "a: &a [x]\n"
    + "".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)),
    "deep lists": "a: " + "[" * 99_000,
    "deep maps": "a: " + "{a: " * 24_000,
    "deep blocks": "\n".join("  " * n + f"k{n}:" for n in range(300)),
    "many keys": "\n".join(f"k{n}: 1" for n in range(9_000)),
    "a long word": "name: " + "x" * 99_000,
    "a long number": "seed: " + "9" * 99_000,
    "a large exponent": "seed: 1e999999999999",
    "many documents": "---\na: 1\n" * 9_000,
    "a large file": "a: 1\n" * 1_000_000,
    "a tag": "a: !!python/object/apply:os.system ['touch exploded']",
}
_PARAMETERS = {
    "a large range": "  training.seed: {min: 0, max: 4294967295}",
    "a condition on a large range": "  training.seed: {min: 0, max: 4294967295}\n"
    "  network.num_nodes: {when: {training.seed: 4294967296}, values: [2]}",
    "a small step": "  training.optimizer.lr: {min: 0.1, max: 1, q: 1.0e-9}",
    "a range beyond numbers": "  training.optimizer.lr: {min: -1.0e+308, max: 1.0e+308, q: 1}",
    "a whole number beyond numbers": f"  training.seed: {{min: 0, max: {'9' * 400}}}",
    "many cases": "  training.seed:\n"
    + "\n".join(f"    - {{when: {{network.hidden.width: {n}}}, values: [{n}]}}" for n in range(1, 1000)),
}
for name, parameters in _PARAMETERS.items():
    for method in ("grid", "bayes"):
        text = GOOD.replace("min: 4, max: 8", "min: 1, max: 1500").replace("budget:", f"{parameters}\nbudget:")
        BOMBS[f"{name}, {method}"] = f"{text}method: {method}\n"
CHILD = """
import resource, sys, time
from hoir_ray.spec.document import parse_document
from hoir_ray.errors import HoirError
from hoir_ray.spec.load import build_spec
from hoir_ray.sweep.planning.plan import plan_sweep

before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
began = time.process_time()
try:
    document = parse_document(sys.stdin.read(), name="s.yaml")
    plan_sweep(build_spec(document), document)
    message = "s.yaml"
except HoirError as error:
    message = str(error)
seconds = time.process_time() - began
print(seconds, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024, "s.yaml" in message, len(message))
"""


@pytest.mark.parametrize("name", list(BOMBS))
def test_bombs_cost_little(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CHILD], input=BOMBS[name], capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    seconds, mib, is_named, length = done.stdout.split()
    assert is_named == "True"
    assert float(mib) < 200
    assert float(seconds) < 5  # one second where nobody else uses the processor
    assert int(length) < 10_000
