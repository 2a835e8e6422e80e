"""Stopping by forecast, and the first rung where a sweep names none."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from hoir_ray.errors import RequestError
from hoir_ray.search.ridge import learned_change
from hoir_ray.search.stopping import build_rule
from hoir_ray.spec.document import parse_document
from hoir_ray.spec.early_terminate import ForecastSpec
from hoir_ray.spec.load import build_spec
from hoir_ray.spec.metric import MetricSpec
from hoir_ray.storage import open_storage
from hoir_ray.sweep.planning.plan import plan_sweep
from hoir_ray.sweep.resume import refuse_other_spec, with_first_rung
from hoir_ray.testing.example import TEXT, build_driver, run

MAX = (MetricSpec(name="m", goal="maximize"),)
BOTH = (MetricSpec(name="m", goal="maximize"), MetricSpec(name="size", goal="minimize"))
EPOCHS = 12
IMAGE = """\
name: s
task: image
data: {image: sample:astronaut, max_side: 32}
metric: {name: val_psnr_db, goal: maximize}
parameters:
  network.hidden.width: {values: [4, 8]}
  training.max_epochs: {values: [3, 20]}
budget: {max_trials: 4}
"""


def curve(end, *, start=10.0, pace=0.75):
    return [end - (end - start) * pace**epoch for epoch in range(1, EPOCHS + 1)]


def learned(rule, ends, **more):
    """The rule once trials `f0`, `f1`, ... trained to those ends."""
    for number, end in enumerate(ends):
        for epoch, value in enumerate(curve(end, **more), start=1):
            rule.decide(f"f{number}", epoch=epoch, value=value)
        rule.finished(f"f{number}")
    return rule


def stopped_at(rule, name, values):
    for epoch, value in enumerate(values, start=1):
        if (reason := rule.decide(name, epoch=epoch, value=value)) is not None:
            return epoch, reason
    return None, ""


def test_ridge_finds_a_linear_change_and_how_sure_it_is():
    generator = np.random.default_rng(0)
    known = generator.standard_normal((300, 3))
    changes = 2 * known[:, 0] - known[:, 2] + 0.5 + 0.1 * generator.standard_normal(300)
    expected, deviation = learned_change(known, changes, np.array([[1.0, 5.0, 0.0], [0.0, 0.0, 1.0]]))
    assert expected == pytest.approx([2.5, -0.5], abs=0.05)
    assert deviation == pytest.approx(0.1, rel=0.15)


def test_a_hopeless_trial_is_stopped_at_the_first_epoch_and_a_leader_never():
    rule = learned(build_rule(ForecastSpec(type="forecast", min_iter=4), metrics=MAX), [30, 28, 26, 24, 22, 20])
    epoch, reason = stopped_at(rule, "bad", curve(18))
    assert epoch == 4
    assert reason.startswith("epoch 4: expected to end at m 1")
    assert ", by 6 finished trials; f0 has 29." in reason
    assert stopped_at(rule, "good", curve(31)) == (None, "")


def test_a_slow_starter_that_will_lead_trains_on_where_a_rung_would_have_stopped_it():
    """It stands behind others at a third of its epochs, and improves faster: as slow ones before it did."""
    rule = build_rule(ForecastSpec(type="forecast", min_iter=4), metrics=MAX)
    kinds = itertools.cycle([{"pace": 0.6}, {"pace": 0.85}])
    for number, (end, kind) in enumerate(zip([24, 26, 25, 27, 26, 28, 27, 29], kinds, strict=False)):
        for epoch, value in enumerate(curve(end, **kind), start=1):
            rule.decide(f"f{number}", epoch=epoch, value=value)
        rule.finished(f"f{number}")
    slow = curve(36, pace=0.85)
    asha = build_rule(
        build_spec(parse_document(TEXT + "early_terminate: {type: asha, min_iter: 4}\n", name="s")).early_terminate,
        metrics=MAX,
    )
    for number, end in enumerate([24, 25, 26, 27]):
        asha.decide(f"f{number}", epoch=4, value=curve(end, pace=0.6)[3])
    assert asha.decide("slow", epoch=4, value=slow[3]) is not None
    assert stopped_at(rule, "slow", slow) == (None, "")


def test_nothing_is_stopped_before_five_trials_have_finished():
    rule = learned(build_rule(ForecastSpec(type="forecast", min_iter=1), metrics=MAX), [30, 29, 28, 27])
    assert stopped_at(rule, "bad", curve(11)) == (None, "")


def test_several_metrics_stop_a_trial_only_where_its_front_is_out_of_reach():
    rule = build_rule(ForecastSpec(type="forecast", min_iter=4), metrics=BOTH)
    for number, (end, size) in enumerate([(30, 900), (28, 700), (26, 500), (24, 300), (22, 200), (20, 100)]):
        for epoch, value in enumerate(curve(end), start=1):
            rule.decide(f"f{number}", epoch=epoch, value=value, row={"m": value, "size": float(size)})
        rule.finished(f"f{number}")
    value = curve(21)[3]
    for name in ("small", "large"):
        for epoch, v in enumerate(curve(21)[:3], start=1):
            rule.decide(name, epoch=epoch, value=v, row={"m": v, "size": 20.0 if name == "small" else 2000.0})
    assert rule.decide("small", epoch=4, value=value, row={"m": value, "size": 20.0}) is None
    reason = rule.decide("large", epoch=4, value=value, row={"m": value, "size": 2000.0})
    assert reason is not None
    assert "size 2000" in reason


def test_nan_stops_nothing_and_teaches_nothing():
    rule = learned(build_rule(ForecastSpec(type="forecast", min_iter=1), metrics=MAX), [30, 29, 28, 27])
    for epoch in range(1, EPOCHS + 1):
        assert rule.decide("nan", epoch=epoch, value=float("nan")) is None
    rule.finished("nan")
    assert stopped_at(rule, "bad", curve(11)) == (None, "")


def test_a_resumed_sweep_forecasts_as_the_uninterrupted_one_would(tmp_path):
    text = TEXT.replace("max_trials: 12", "max_trials: 25") + "early_terminate: {type: forecast, min_iter: 3}\n"
    storage = open_storage(str(tmp_path)).child("simulated")
    driver = build_driver(storage, text)
    run(driver, slots=2)
    states = [r.state for r in driver.records.values()]
    assert 0 < states.count("PRUNED") < 20
    again = build_driver(storage, text, records=list(driver.records.values()))
    rows = [{"epoch": float(e), "quality": 21.0 + e / 10} for e in range(1, 10)]
    for row in rows:
        fresh = [
            d.rule.decide("t9999", epoch=int(row["epoch"]), value=row["quality"], row=row) for d in (driver, again)
        ]
        assert fresh[0] == fresh[1]
    assert fresh[0] is not None


# -- the first rung -------------------------------------------------------------------------------------------------


def spec_of(more):
    return build_spec(parse_document(IMAGE + more, name="s.yaml"))


@pytest.mark.parametrize("rule", ["asha", "forecast"])
def test_the_first_rung_is_at_a_third_of_the_longest_trial(rule):
    spec = spec_of(f"early_terminate: {{type: {rule}}}\n")
    assert plan_sweep(spec).max_epochs == 20
    assert with_first_rung(spec, before=None, max_epochs=20).early_terminate.min_iter == 7
    given = spec_of(f"early_terminate: {{type: {rule}, min_iter: 2}}\n")
    assert with_first_rung(given, before=None, max_epochs=20) == given


def test_a_sweep_begun_when_the_first_rung_was_at_epoch_1_resumes_with_it():
    before = spec_of("early_terminate: {type: asha, min_iter: 1}\n")
    now = spec_of("early_terminate: {type: asha}\n")
    refuse_other_spec(before, now, where="here")
    assert with_first_rung(now, before=before, max_epochs=20) == before
    with pytest.raises(RequestError, match=r"early_terminate\.min_iter: was 1, is 2"):
        refuse_other_spec(before, spec_of("early_terminate: {type: asha, min_iter: 2}\n"), where="here")


def test_method_gp_is_said_to_be_bayes():
    plan = plan_sweep(spec_of("method: gp\n"))
    assert [w for w in plan.warnings if w.startswith("method:")] == [
        "method: 'gp' is now what 'bayes' is; it was Optuna's, which drew all parameters with a 'when' at random"
    ]
