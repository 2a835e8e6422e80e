"""The sweep YAML: its schema, its overrides, and complaints that name rule, value, file and line."""

from __future__ import annotations

import pytest

from hoir_ray.errors import SpecError
from hoir_ray.spec.document import dump_document, parse_document
from hoir_ray.spec.fields.units import seconds
from hoir_ray.spec.load import build_spec, load_spec, override, parse_override

GOOD = """\
name: small
task: image
data: {image: sample:astronaut}
metric: {name: val_psnr_db, goal: maximize}
parameters:
  network.hidden.width: {min: 4, max: 8}
  training.max_epochs: {value: 3}
budget: {max_trials: 4}
"""


def spec_of(text, overrides=()):
    return build_spec(override(parse_document(text, name="s.yaml"), overrides))


def test_defaults_fit_a_laptop():
    spec = spec_of(GOOD)
    assert spec.storage.uri == "hoir-runs"
    assert spec.resources.workers == 1
    assert spec.metric.goal == "maximize"
    assert spec.method == "bayes"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (("name: small", "name: a/b"), "name: must be 1 to 100 letters"),
        (("name: small", "name: .."), "name: must be 1 to 100 letters"),
        (("name: small", "name: " + "x" * 300), "name: must be 1 to 100 letters"),
        (("task: image", "tasks: image"), "tasks: unknown key. Did you mean 'task'? (s.yaml:2)"),
        (("goal: maximize", "goal: maximise"), "metric.goal: should be 'minimize' or 'maximize', got 'maximise' (s"),
        (("min: 4, max: 8", "min: 9, max: 8"), "must not be above 'max', got min 9 and max 8 (s.yaml:6)"),
        (("min: 4, max: 8", "min: 0, max: 8, distribution: log_uniform_values"), "above zero, got min 0 (s.yaml:6)"),
        (("min: 4, max: 8", "min: 4"), "a range needs both 'min' and 'max' (s.yaml:6)"),
        (("min: 4, max: 8", "values: []"), "network.hidden.width.values"),
        (("min: 4, max: 8", "values: [1, 1]"), "the same value twice"),
        (("min: 4, max: 8", "value: 1, values: [2]"), "exactly one of"),
        (("{value: 3}", "3"), "must be a mapping, such as {value: 3}"),
        (("{value: 3}", "{value: 3, q: 2}"), "'q' goes with 'min' and 'max'"),
        (("max_trials: 4", "max_trials: 0"), "max_trials: should be greater than or equal to 1, got 0 (s.yaml:8)"),
        (("budget: {max_trials: 4}", "budget: {}"), "budget: needs max_trials or wall_clock"),
        (("budget: {max_trials: 4}", ""), "budget: is needed and was not given"),
        (("max_trials: 4", "wall_clock: 5 parsecs"), "must be a duration such as 90s, 20m or 6h"),
        (("budget:", "early_terminate: {type: asha, min_itr: 2}\nbudget:"), "Did you mean 'min_iter'? (s.yaml:8)"),
        (("budget:", "early_terminate: {type: hyperband}\nbudget:"), "early_terminate"),
        (("budget:", "resources: {workers: 2, gpus: 0.5}\nbudget:"), "cannot share a GPU"),
        (("budget:", "constraints: [num_parameters <]\nbudget:"), "not understood here"),
        (("budget:", "metrics: [{name: x}]\nbudget:"), "either 'metric' or 'metrics'"),
    ],
)  # fmt: skip
def test_each_fault_is_one_line_with_its_place(change, expected):
    with pytest.raises(SpecError) as caught:
        spec_of(GOOD.replace(*change))
    assert expected in str(caught.value)
    assert "s.yaml" in str(caught.value)


def test_several_faults_are_all_told():
    with pytest.raises(SpecError) as caught:
        spec_of(GOOD.replace("max_trials: 4", "max_trials: none").replace("name: small", "name: a b"))
    assert len(str(caught.value).splitlines()) == 2


def test_overrides_reach_spec_config_and_data():
    spec = spec_of(GOOD, ["budget.max_trials=9", "network.hidden.width=16", "data.max_side=64", "seed=3"])
    assert spec.budget.max_trials == 9
    assert spec.parameters["network.hidden.width"][0].value == 16
    assert spec.data["max_side"] == 64
    assert spec.seed == 3


@pytest.mark.parametrize("text", ["budget", "=3", "a b=3", "budgets.max_trials=3", "name.x=3"])
def test_overrides_that_make_no_sense(text):
    with pytest.raises(SpecError):
        spec_of(GOOD, [text])


def test_override_values_are_read_as_yaml():
    assert parse_override("a.b=1e-3") == ("a.b", 0.001)
    assert parse_override("a.b=[1, 2]") == ("a.b", [1, 2])
    assert parse_override("a=x: {") == ("a", "x: {")


@pytest.mark.parametrize(("text", "expected"), [("90s", 90), ("20m", 1200), ("1h30m", 5400), (5, 5), ("1.5h", 5400)])
def test_durations(text, expected):
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "5", "h", "-3s", "0s", "3x", True, None, "1e3s"])
def test_durations_that_are_none(text):
    with pytest.raises(ValueError, match="duration"):
        seconds(text)


def test_a_spec_survives_being_written_and_read(tmp_path):
    from hoir_ray.sweep.resume import resolved

    spec = spec_of(GOOD)
    path = tmp_path / "spec.yaml"
    path.write_text(dump_document(resolved(spec)))
    again, _ = load_spec(path)
    assert again.model_copy(update={"provenance": None}) == spec
