"""A trial's story in words."""

from __future__ import annotations

from hoir_ray.results.record import TrialRecord
from hoir_ray.results.story import tell
from hoir_ray.spec.document import parse_document
from hoir_ray.spec.load import build_spec
from hoir_ray.testing.example import TEXT


def test_a_story_has_settings_curve_end_attempts_and_error():
    spec = build_spec(parse_document(TEXT, name="s.yaml"))
    record = TrialRecord(
        trial="t0002",
        number=2,
        parameters={"network.hidden.width": 8},
        state="PRUNED",
        reason="epoch 3: quality 2 is not among the best 1 of 4 trials there (t0001 leads with 9)",
        attempt=3,
        num_failures=1,
        num_preemptions=1,
        num_parameters=1234,
        curve=({"epoch": 1.0, "quality": 1.0}, {"epoch": 2.0, "quality": 3.0}, {"epoch": 3.0, "quality": 2.0}),
        best={"epoch": 2.0, "quality": 3.0},
        error="Traceback\nRuntimeError: once",
    ).change("attempt 1 started")
    text = "\n".join(tell(record, spec))
    for part in ("t0002 PRUNED", "t0001 leads with 9", "network.hidden.width = 8", "1,234", "best 3 at epoch 2"):
        assert part in text
    assert "3 attempts, 1 failed by its own fault, 1 lost with a machine" in text
    assert "attempt 1 started" in text
    assert "RuntimeError: once" in text
    assert "error" not in "\n".join(tell(record.change(error=None), spec))
