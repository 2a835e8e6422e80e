"""The search space: paths, types, ranges and conditions are checked against a config, and points respect them."""

from __future__ import annotations

import random
import resource
import time

import pytest

from hoir_ray.errors import SpecError
from hoir_ray.spec.document import parse_document
from hoir_ray.spec.grid import grid_size
from hoir_ray.spec.load import build_spec
from hoir_ray.spec.space import MAX_GRID, Dimension, build_space
from hoir_ray.tasks.contract import TaskConfig

HEAD = "name: s\ntask: t\nmetric: {name: m}\nbudget: {max_trials: 4}\nparameters:\n"


def space_of(parameters, method="bayes"):
    document = parse_document(HEAD + parameters + f"method: {method}\n", name="s.yaml")
    return build_space(build_spec(document), TaskConfig, document)


CONDITIONAL = """\
  network.num_nodes:
    - {when: {network.layer_type: [continuous, discontinuous]}, values: [2, 3]}
    - {when: {network.layer_type: fourier}, min: 7, max: 9}
  network.layer_type: {values: [continuous, discontinuous, fourier, relu]}
  network.input.segments: {when: {network.num_nodes: 3}, min: 4, max: 16, distribution: q_log_uniform_values, q: 4}
"""


def test_points_respect_conditions_whatever_the_order_in_the_file():
    space = space_of(CONDITIONAL)
    generator = random.Random(1)
    for _ in range(300):
        point = space.draw(lambda d: generator.choice(d.corners()))
        kind = point["network.layer_type"]
        assert ("network.num_nodes" in point) == (kind != "relu")
        if kind == "fourier":
            assert point["network.num_nodes"] in (7, 9)
        assert ("network.input.segments" in point) == (point.get("network.num_nodes") == 3)


def test_cases_have_names_of_their_own():
    names = {d.name for d in space_of(CONDITIONAL).dimensions}
    assert "network.num_nodes@continuous+discontinuous" in names
    assert "network.num_nodes@fourier" in names
    assert "network.input.segments" in names


def test_a_grid_has_every_combination_once():
    space = space_of(CONDITIONAL, "grid")
    points = [tuple(sorted(p.items())) for p in space.points(Dimension.grid)]
    # two piecewise types x (2 nodes, or 3 nodes x 4 segment counts), fourier x 3, relu
    assert len(points) == len(set(points)) == grid_size(space) == 2 * (1 + 4) + 3 + 1


def test_snapping_keeps_to_the_step_and_the_range():
    segments = next(d for d in space_of(CONDITIONAL).dimensions if d.path == "network.input.segments")
    assert [segments.snap(x) for x in (4.0, 5.9, 6.1, 15.99)] == [4, 4, 8, 16]
    assert isinstance(segments.snap(5.0), int)


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ("  network.width: {value: 3}\n", "unknown parameter of task 't'. Did you mean"),
        ("  network.hidden.widht: {value: 3}\n", "Did you mean 'network.hidden.width'? (s.yaml:6)"),
        ("  network: {value: 3}\n", "network"),
        ("  network.hidden.width: {value: wide}\n", "got 'wide' (s.yaml:6)"),
        ("  network.hidden.width: {value: 3.5}\n", "got 3.5"),
        ("  network.hidden.width: {min: 0, max: 5}\n", "greater than or equal to 1, got 0"),
        ("  network.hidden.width: {min: 2, max: 9, q: 0.5}\n", "'q' must be whole"),
        ("  network.layer_type: {values: [continuous, spline]}\n", "got 'spline'"),
        ("  training.optimizer.lr: {min: 0.001, max: 1000}\n", "less than or equal to 100, got 1000"),
        (
            "  network.segments: {when: {network.layer: x}, value: 3}\n  network.layer_type: {value: relu}\n",
            "'when' names 'network.layer', which is no parameter here. Did you mean 'network.layer_type'?",
        ),
        (
            "  network.segments: {when: {training.optimizer.lr: 4}, value: 3}\n"
            "  training.optimizer.lr: {min: 2, max: 8}\n",
            "must be finite, not a range of decimals",
        ),
        (
            "  network.segments: {when: {network.layer_type: fourrier}, value: 3}\n"
            "  network.layer_type: {values: [fourier, relu]}\n",
            "'when: network.layer_type: fourrier' never holds; network.layer_type is one of fourier, relu",
        ),
        (
            "  network.segments: {when: {network.num_nodes: 3}, values: [3]}\n"
            "  network.num_nodes: {when: {network.segments: 3}, values: [3]}\n",
            "goes round in a circle through network.num_nodes, network.segments",
        ),
    ],
)
def test_each_fault_names_path_value_and_place(parameters, expected):
    with pytest.raises(SpecError) as caught:
        space_of(parameters)
    assert expected in str(caught.value)
    assert "s.yaml:" in str(caught.value)


def test_a_parameter_may_belong_to_one_member_of_a_union():
    space = space_of(
        "  training.optimizer.name: {values: [adam, adahessian]}\n"
        "  training.optimizer.hessian_power: {when: {training.optimizer.name: adahessian}, min: 0.5, max: 1.0}\n"
    )
    assert len(space.dimensions) == 2


def test_a_continuous_range_has_no_grid():
    with pytest.raises(SpecError, match="a grid needs 'values'"):
        grid_size(space_of("  training.optimizer.lr: {min: 0.001, max: 0.1}\n", "grid"))


@pytest.mark.parametrize(
    ("parameters", "size"),
    [
        ("  training.seed: {min: 0, max: 4294967295}\n", None),
        (
            "  training.seed: {min: 0, max: 4294967295}\n"
            "  network.num_nodes: {when: {training.seed: [3, 4]}, values: [2, 3, 4]}\n",
            None,
        ),
        ("  training.optimizer.lr: {min: 0.1, max: 0.9, q: 1.0e-9}\n", None),
        (
            "  training.seed: {min: 0, max: 99999}\n"
            "  network.num_nodes: {when: {training.seed: [3, 4]}, values: [2, 3, 4]}\n",
            99_998 + 2 * 3,
        ),
        (
            "  network.layer_type: {values: [continuous, discontinuous, fourier]}\n"
            "  network.num_nodes:\n"
            "    - {when: {network.layer_type: fourier}, min: 7, max: 9}\n"
            "    - {values: [2, 3]}\n"
            "  network.hidden.width: {when: {network.num_nodes: [3, 7]}, min: 1, max: 10}\n",
            (10 + 1 + 1) + 2 * (1 + 10),
        ),
    ],
    ids=["a range", "a range with a condition", "a fine step", "counted", "counted as listed"],
)
def test_a_grid_is_counted_and_not_listed(parameters, size):
    space = space_of(parameters, "grid")
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    counted = grid_size(space)
    assert time.process_time() - began < 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000
    if size is None:
        assert counted > MAX_GRID
    else:
        assert counted == size == sum(1 for _ in space.points(Dimension.grid))


def test_thousands_of_cases_are_put_in_order_at_once():
    cases = "".join(f"    - {{when: {{network.hidden.width: {n}}}, values: [{n}]}}\n" for n in range(1, 1001))
    parameters = f"  network.hidden.width: {{min: 1, max: 1000}}\n  training.max_epochs:\n{cases}"
    began = time.process_time()
    space = space_of(parameters, "grid")
    assert grid_size(space) == 1000
    assert time.process_time() - began < 8


def test_conditions_on_many_parents_are_counted_by_what_they_tell_apart():
    paths = ["network.input.num_nodes", "network.output.num_nodes", "network.hidden.width", "training.max_epochs"]
    parameters = "".join(f"  {path}: {{min: 2, max: 101}}\n" for path in paths)
    wanted = ", ".join(f"{path}: [5, 6]" for path in paths)
    parameters += f"  network.num_nodes: {{when: {{{wanted}}}, values: [2, 3, 4]}}\n"
    assert grid_size(space_of(parameters, "grid")) > MAX_GRID
    small = parameters.replace("max: 101", "max: 6")
    assert grid_size(space_of(small, "grid")) == 5**4 + 2**4 * 2
