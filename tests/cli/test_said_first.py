"""Commands say before they begin what they work on and how large it is."""

from __future__ import annotations

import subprocess
import sys

import pytest

from hoir_ray.errors import SpecError
from hoir_ray.spec.document import parse_document
from hoir_ray.spec.load import build_spec
from hoir_ray.sweep.planning.plan import plan_sweep
from tests.spec.test_spec import GOOD


def run(*arguments, cwd):
    return subprocess.run(
        [sys.executable, "-m", "hoir_ray", *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=200,
        check=False,
    )


def planned(constraint):
    document = parse_document(f"{GOOD}constraints: [{constraint}]\n", name="s.yaml")
    return plan_sweep(build_spec(document), document)


def test_a_missing_picture_is_no_valid_sweep(tmp_path):
    (tmp_path / "s.yaml").write_text(GOOD.replace("sample:astronaut", "missing.png"))
    done = run("validate", "s.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert "missing.png" in done.stderr
    assert "s.yaml:3" in done.stderr


@pytest.mark.parametrize("constraint", ["num_parameters <= 3", "num_parameters > 1e9", "num_parameters * 2 == 7"])
def test_a_constraint_that_every_network_breaks_is_refused(constraint):
    with pytest.raises(SpecError, match=r"constraints: no network of this space meets .* parameters \(s.yaml:\d+\)"):
        planned(constraint)


def test_the_sizes_that_constraints_leave_are_known():
    free = planned("val_loss < 1")
    assert free.feasible == (free.smallest.num_parameters, free.largest.num_parameters)
    middle = (free.feasible[0] + free.feasible[1]) // 2
    assert planned(f"num_parameters <= {middle}").feasible == (free.feasible[0], middle)
    assert planned(f"num_parameters == {middle}").feasible == (middle, middle)


def test_a_training_says_first_what_it_trains_on(tmp_path):
    done = run("train", "image", "data.max_side=8", "training.max_epochs=1", "--to", "pack", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    assert "image=sample:astronaut" in lines[0]
    assert "samples: 1 epochs of" in lines[1]
    assert next(i for i, line in enumerate(lines) if line.startswith("epoch 1/1")) > 1
