"""`target:` and `budget.stop_at` of a sweep YAML, and everything that can be wrong with them."""

from __future__ import annotations

import pytest

from hoir_ray.errors import SpecError
from hoir_ray.spec.document import dump_document, parse_document
from hoir_ray.spec.load import build_spec, override
from hoir_ray.spec.metric import MetricSpec
from hoir_ray.spec.schema import SweepSpec
from hoir_ray.sweep.planning.plan import plan_sweep
from hoir_ray.sweep.resume import resolved

TEXT = """\
name: small
task: image
data: {image: "sample:astronaut", max_side: 32}
target: {%s}
parameters:
  network.hidden.width: {values: [2, 40]}
budget: {max_trials: 2}
"""


def spec_of(target: str, more: str = "", *, settings: tuple[str, ...] = ()) -> SweepSpec:
    document = override(parse_document(TEXT % target + more, name="s.yaml"), settings)
    return plan_sweep(build_spec(document), document).spec


@pytest.mark.parametrize(
    ("target", "objective", "constraint"),
    [
        ("stored_psnr_db: 32", ("stored_bytes", "minimize"), "stored_psnr_db >= 32"),
        ("stored_ssim: 0.9", ("stored_bytes", "minimize"), "stored_ssim >= 0.9"),
        ("stored_bytes: 8000", ("stored_psnr_db", "maximize"), "stored_bytes <= 8000"),
        ("stored_bits_per_pixel: 0.3", ("stored_psnr_db", "maximize"), "stored_bits_per_pixel <= 0.3"),
    ],
)
def test_a_target_is_an_objective_with_a_constraint(target: str, objective: tuple[str, str], constraint: str) -> None:
    spec = spec_of(target, "constraints: [num_parameters <= 9000]\n")
    assert spec.metrics == (MetricSpec.model_validate(dict(zip(("name", "goal"), objective, strict=True))),)
    assert spec.constraints == ("num_parameters <= 9000", constraint)
    assert spec.measures_stored_form


def test_a_spec_with_a_target_is_read_as_it_was_written() -> None:
    spec = spec_of("stored_psnr_db: 32, margin: 0.02")
    again = build_spec(parse_document(dump_document(resolved(spec)), name="spec.yaml"))
    assert again.model_copy(update={"provenance": None}) == spec


def test_a_target_is_set_on_the_command_line() -> None:
    assert spec_of("stored_psnr_db: 32", settings=("target.stored_psnr_db=30",)).constraints == (
        "stored_psnr_db >= 30",
    )


@pytest.mark.parametrize(
    ("target", "more", "complaint"),
    [
        ("", "", r"target: takes one of stored_psnr_db, .* got none \(s\.yaml:4\)"),
        ("margin: 0.1", "", r"target: takes one of .* got none"),
        ("stored_psnr_db: 32, stored_bytes: 9", "", r"got stored_psnr_db and stored_bytes \(s\.yaml:4\)"),
        ("stored_psnr: 32", "", r"target\.stored_psnr: unknown key. Did you mean 'stored_psnr_db'"),
        ("stored_psnr_db: good", "", r"target\.stored_psnr_db: .*number.*'good' \(s\.yaml:4\)"),
        ("stored_psnr_db: .nan", "", r"target\.stored_psnr_db: "),
        ("stored_ssim: 1.5", "", r"target\.stored_ssim: should be less than 1, got 1\.5"),
        ("stored_bytes: 0", "", r"target\.stored_bytes: should be greater than or equal to 1, got 0"),
        ("stored_psnr_db: 32, margin: 2", "", r"target\.margin: should be less than 1"),
        ("stored_psnr_db: 32", "metric: {name: val_loss}\n", r"target: leave out 'metric'"),
        ("stored_psnr_db: 32", "early_terminate: {type: asha}\n", r"early_terminate: asha compares .* \(s\.yaml:8\)"),
    ],
)
def test_a_bad_target_is_named(target: str, more: str, complaint: str) -> None:
    with pytest.raises(SpecError, match=complaint):
        spec_of(target, more)


def test_a_task_that_does_not_measure_the_target_is_named() -> None:
    text = (TEXT % "stored_ssim: 0.9").replace("task: image", "task: neighborhood")
    document = parse_document(text.replace("data: {image: ", "data: {images: "), name="s.yaml")
    with pytest.raises(SpecError, match=r"target: .*stored_ssim.*\(s\.yaml:4\)"):
        plan_sweep(build_spec(document), document)


@pytest.mark.parametrize(
    ("stop_at", "complaint"),
    [
        ("val_psnr_db >=", r"budget\.stop_at: condition: not understood here"),
        ("val_psnr >= 30", r"budget\.stop_at: .*unknown metric 'val_psnr'.*'val_psnr_db'.*\(s\.yaml:9\)"),
        ("30", r"budget\.stop_at: condition: expected a comparison"),
    ],
)
def test_a_bad_stop_at_is_named(stop_at: str, complaint: str) -> None:
    text = (TEXT % "stored_psnr_db: 32").replace("{max_trials: 2}", f"\n  max_trials: 2\n  stop_at: '{stop_at}'")
    document = parse_document(text, name="s.yaml")
    with pytest.raises(SpecError, match=complaint):
        plan_sweep(build_spec(document), document)
