"""A point of the space becomes a config once, and says then whether it may be tried."""

from __future__ import annotations

import pytest

from hoir_ray.errors import SpecError
from hoir_ray.spec.document import parse_document
from hoir_ray.spec.load import build_spec
from hoir_ray.sweep.planning import plan as plan_module
from hoir_ray.sweep.planning.plan import plan_sweep

TEXT = """\
name: candidates
task: image
data: {image: sample:astronaut, max_side: 32}
metric: {name: val_psnr_db, goal: maximize}
seed: 5
constraints: [num_parameters <= 300, val_psnr_db >= 10]
parameters:
  network.hidden.width: {min: 2, max: 32}
  training.max_epochs: {value: 7}
budget: {max_trials: 4}
"""


def point(width: int) -> dict[str, int]:
    return {"network.hidden.width": width, "training.max_epochs": 7}


@pytest.fixture
def built(monkeypatch):
    """The points of which a config was built."""
    points = []
    build = plan_module.trial_config

    def counted(spec, task, point, **options):
        points.append(dict(point))
        return build(spec, task, point, **options)

    document = parse_document(TEXT, name="s.yaml")
    plan = plan_sweep(build_spec(document), document)
    monkeypatch.setattr(plan_module, "trial_config", counted)
    return plan, points


def test_a_config_is_built_once_for_each_point(built):
    plan, points = built
    first = plan.candidate(point(4))
    assert plan.candidate(dict(reversed(point(4).items()))) is first
    assert plan.config(point(4)) is first.config
    assert plan.config(point(4), seed=5) is first.config
    assert points == [point(4)]
    assert first.max_epochs == 7
    assert first.num_parameters == plan.task.num_parameters(first.config)


def test_another_seed_or_batch_size_is_another_config(built):
    plan, _ = built
    config = plan.config(point(4), batch_size=3, seed=9)
    assert (config.training.batch_size, config.training.seed) == (3, 9)
    assert plan.candidate(point(4)).config.training.seed == 5


def test_a_network_that_breaks_a_constraint_by_its_size_is_refused_and_no_other(built):
    plan, _ = built
    small, large = plan.candidate(point(2)), plan.candidate(point(32))
    assert small.num_parameters <= 300 < large.num_parameters
    assert small.refusal is None
    assert large.refusal == f"num_parameters <= 300 does not hold for num_parameters {large.num_parameters:,}"


def test_only_so_many_are_kept(built, monkeypatch):
    plan, points = built
    monkeypatch.setattr(plan_module, "MAX_CANDIDATES", 3)
    for width in (2, 3, 4, 5, 5, 4, 3, 2):
        plan.candidate(point(width))
    assert [p["network.hidden.width"] for p in points] == [2, 3, 4, 5, 2]


def test_a_point_that_is_no_config_is_an_error(built):
    plan, points = built
    for _ in range(2):
        with pytest.raises(SpecError, match=r"network\.hidden\.width"):
            plan.candidate(point(-1))
    assert len(points) == 2


def test_its_record_has_its_size_and_seed(built):
    plan, _ = built
    candidate = plan.candidate(point(4))
    record = candidate.record("t0007", number=7, parameters=point(4))
    assert (record.trial, record.number, record.seed) == ("t0007", 7, 5)
    assert record.parameters == point(4)
    assert record.num_parameters == candidate.num_parameters


GENERATOR = """\
name: drawn
task: random_interpolation
data: {folder: sample:photos, size: 32}
metric: {name: val_patch_distance, goal: minimize}
parameters:
  data.sampler: {values: [%s]}
budget: {max_trials: 4}
"""


def generator_plan(samplers: str):
    document = parse_document(GENERATOR % samplers, name="s.yaml")
    return plan_sweep(build_spec(document), document)


def test_a_point_without_the_metric_that_trials_are_compared_by_is_refused():
    plan = generator_plan("nearest, radial")
    assert plan.refuse({"data.sampler": "nearest"}) is None
    assert plan.refuse({"data.sampler": "radial"}) == (
        "val_patch_distance: not measured with these settings: data.sampler has to be nearest"
    )


def test_a_sweep_by_a_metric_that_no_point_measures_is_refused():
    with pytest.raises(SpecError, match=r"val_patch_distance: not measured with any .* \(s\.yaml:4\)"):
        generator_plan("uniform, radial")
