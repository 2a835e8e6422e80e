"""Ranking within constraints, the front and its knee, and what seeds can tell apart."""

from __future__ import annotations

import math
import re

import pytest

from hoir_ray.results.front import knee, pareto_front
from hoir_ray.results.ranking import broken_constraint, ranked
from hoir_ray.results.record import TrialRecord
from hoir_ray.results.seeds import Spread, spreads, tell_apart, ties
from hoir_ray.spec.conditions import parse_condition
from hoir_ray.spec.document import parse_document
from hoir_ray.spec.load import build_spec
from tests.report.made import made_sweep

TEXT = """\
name: r
task: image
metrics: [{name: q, goal: maximize}, {name: num_parameters, goal: minimize}]
constraints: [num_parameters <= 100, s > 0.5]
parameters: {network.hidden.width: {min: 1, max: 9}}
budget: {max_trials: 1}
"""
SPEC = build_spec(parse_document(TEXT, name="r.yaml"))


def trial(number: int, *, q: float, size: int = 50, s: float = 0.9, of: str | None = None, state: str = "FINISHED"):
    return TrialRecord(
        trial=f"t{number}", number=number, parameters={}, state=state, num_parameters=size, replicate_of=of,
        best={"epoch": 1.0, "q": q, "s": s},
    )  # fmt: skip


def names(records: list[TrialRecord]) -> list[str]:
    return [r.trial for r in records]


def test_what_breaks_a_constraint_or_did_not_finish_is_not_ranked():
    records = [
        trial(1, q=9, size=101),
        trial(2, q=8, s=0.5),
        trial(3, q=1),
        trial(4, q=2),
        trial(5, q=9, state="PRUNED"),
    ]
    assert names(ranked(records, spec=SPEC)) == ["t4", "t3"]
    assert broken_constraint(records[0], SPEC) == "num_parameters <= 100"
    assert broken_constraint(records[1], SPEC) == "s > 0.5"
    assert names(ranked(records, spec=SPEC, where=parse_condition("q < 2"))) == ["t3"]


def test_the_front_and_its_knee():
    records = [trial(1, q=10, size=100), trial(2, q=9, size=20), trial(3, q=2, size=10), trial(4, q=8, size=30)]
    front = pareto_front(ranked(records, spec=SPEC), metrics=SPEC.metrics)
    assert names(front) == ["t1", "t2", "t3"]
    bend = knee(front, metrics=SPEC.metrics)
    assert bend is not None
    assert bend.trial == "t2"
    assert knee(front[:2], metrics=SPEC.metrics) is None
    assert knee(front, metrics=SPEC.metrics[:1]) is None


def test_equal_trials_share_the_front():
    records = [trial(1, q=5), trial(2, q=5)]
    assert names(pareto_front(ranked(records, spec=SPEC), metrics=SPEC.metrics)) == ["t1", "t2"]


def test_a_lucky_seed_loses_its_place_when_it_is_run_again():
    lucky, solid, third = trial(1, q=10), trial(2, q=9), trial(3, q=8.5)
    again = [trial(10 + i, q=q, of="t1") for i, q in enumerate((6.0, 7.0))]
    again += [trial(20 + i, q=q, of="t2") for i, q in enumerate((9.0, 8.8))]
    records = [lucky, solid, third, *again]
    assert names(ranked(records, spec=SPEC)) == ["t2", "t1", "t3"]
    assert spreads(records, metric="q")["t1"] == Spread(mean=6.5, deviation=math.sqrt(0.5), num_seeds=2)


def test_two_means_are_told_apart_only_beyond_chance():
    far, near = Spread(mean=10, deviation=0.1, num_seeds=3), Spread(mean=9.95, deviation=0.1, num_seeds=3)
    low, one = Spread(mean=5, deviation=0.1, num_seeds=3), Spread(mean=5, deviation=math.nan, num_seeds=1)
    assert tell_apart(far, low) is True
    assert tell_apart(far, near) is False
    assert tell_apart(far, one) is None
    same = Spread(mean=1, deviation=0, num_seeds=2)
    assert tell_apart(same, same) is False


def test_welch_agrees_with_scipy():
    from scipy.stats import ttest_ind

    a, b = [10.0, 10.4, 9.7], [9.0, 9.3, 9.1, 9.5]
    records = [trial(i, q=q, of="a") for i, q in enumerate(a)] + [trial(9 + i, q=q, of="b") for i, q in enumerate(b)]
    known = spreads(records, metric="q")
    assert tell_apart(known["a"], known["b"]) == bool(ttest_ind(a, b, equal_var=False).pvalue < 0.05)


@pytest.mark.parametrize(("second", "expected"), [((9.9, 10.2), ["t2"]), ((3.0, 3.1), [])])
def test_ties_with_the_winner_are_named(second, expected):
    records = [trial(1, q=11), trial(2, q=10.5)]
    records += [trial(10 + i, q=q, of="t1") for i, q in enumerate((10.0, 10.3))]
    records += [trial(20 + i, q=q, of="t2") for i, q in enumerate(second)]
    assert ties(ranked(records, spec=SPEC), records, metric="q") == expected


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("num_parameters <=", "^"),
        ("val_psnr_db > 20 and", "^"),
        ("val_psnr > 20", "unknown metric 'val_psnr'. Did you mean 'val_psnr_db'?"),
        ("__import__('os')", "expected a comparison"),
    ],
)
@pytest.mark.parametrize("command", ["best", "trials"])
def test_a_condition_that_is_not_understood_is_pointed_at(hoir, tmp_path, where, said, command):
    made_sweep(tmp_path / "hoir-runs", pictures=False)
    outcome = hoir(command, "made", "--where", where)
    assert outcome.code == 2
    assert said in outcome.err


def test_best_marks_the_knee_and_keeps_to_the_condition(hoir, tmp_path):
    made = made_sweep(tmp_path / "hoir-runs", pictures=False)
    shown = hoir("best", "made", "--pareto").out
    front = made.front()
    bend = knee(front, metrics=made.spec.metrics)
    assert bend is not None
    assert f"{bend.trial} knee" in shown
    small = hoir("best", "made", "--where", "num_parameters <= 3000 and val_psnr_db > 10").out
    assert all((made.trial(name).num_parameters or 0) <= 3000 for name in re.findall(r"t\d{4}", small))


def test_a_sweep_with_no_finished_trial_has_no_best(hoir, tmp_path):
    made_sweep(tmp_path / "hoir-runs", num_trials=0)
    outcome = hoir("best", "made")
    assert outcome.code == 2
    assert "no finished trial" in outcome.err


@pytest.mark.parametrize(
    ("state", "failed", "is_evidence"),
    [
        ("PENDING", False, False),
        ("RUNNING", False, False),
        ("FINISHED", False, True),
        ("PRUNED", False, True),
        ("FAILED", True, False),
        ("TIMEOUT", True, False),
        ("OOM", True, False),
    ],
)
def test_a_trial_is_evidence_or_failed_by_its_state_and_no_replicate_is_evidence(state, failed, is_evidence):
    own, again = trial(1, q=1, state=state), trial(2, q=1, state=state, of="t1")
    assert (own.failed, own.is_evidence, own.is_replicate) == (failed, is_evidence, False)
    assert (again.failed, again.is_evidence, again.is_replicate) == (failed, False, True)
