"""Importance of parameters, conditional ones among those trials in which they apply."""

from __future__ import annotations

import random

from hoir_ray.report.importance import explained_share, importances
from hoir_ray.spec.document import parse_document
from hoir_ray.spec.load import build_spec
from tests.report.made import TEXT, made_record


def test_what_decides_everything_explains_everything_and_chance_explains_nothing():
    generator = random.Random(0)
    width = [generator.randrange(100) for _ in range(400)]
    noise = [generator.random() for _ in range(400)]
    assert (explained_share(["a" if w < 50 else "b" for w in width], [w < 50 for w in width]) or 0) > 0.99
    assert (explained_share(noise, width) or 0) < 0.03
    assert (explained_share(width, width) or 0) > 0.9


def test_too_few_trials_or_values_explain_nothing():
    assert explained_share([1, 2, 3], [1, 2, 3]) is None
    assert explained_share(["a"] * 20, list(range(20))) is None
    assert explained_share(list(range(20)), [1.0] * 20) is None


def test_a_conditional_parameter_is_judged_where_it_applies():
    spec = build_spec(parse_document(TEXT, name="x"))
    records = [made_record(n) for n in range(1, 61)]
    found = {(i.path, i.condition): i for i in importances(records, spec=spec, metric=spec.metric)}
    segments = found["network.input.segments", "network.layer_type is continuous"]
    assert segments.num_trials == sum(r.ended and bool(r.best) for r in records if r.number % 2 == 0)
    assert len([k for k in found if k[0] == "network.num_nodes"]) == 2


def test_stopped_trials_count_by_how_far_they_came():
    spec = build_spec(parse_document(TEXT, name="x"))
    records = []
    for n in range(1, 41):
        far = n % 2 == 0
        record = made_record(n)
        records.append(
            record.change(
                state="FINISHED" if far else "PRUNED",
                curve=({"epoch": 9.0 if far else 1.0, "val_psnr_db": float(n % 5)},),
                best={"epoch": 1.0, "val_psnr_db": float(n % 5)},
            )
        )
    found = importances(records, spec=spec, metric=spec.metric)
    layer = next(i for i in found if i.path == "network.layer_type")
    assert layer.share is not None
    assert layer.share > 0.7
