"""Names of files with colons and hash signs; types changed by a setting; specs that differ."""

from __future__ import annotations

from pathlib import Path

import pytest

from hoir_ray.errors import RequestError
from hoir_ray.spec.document import parse_document
from hoir_ray.spec.load import build_spec, override, parse_override
from hoir_ray.sweep.resume import refuse_other_spec
from hoir_ray.tasks import load_task
from hoir_ray.tasks.contract import read_config
from tests.spec.test_spec import GOOD


@pytest.mark.parametrize(
    "name", ["a 12:30.png", "IMG #2.png", "#2.png", "5 #2.png", "a: b.png", "C:x.png", "x - y.png"]
)
def test_a_name_is_a_name(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = read_config(load_task("image"), [f"data.image={name}"])
    assert config.data.image == str(Path.cwd() / name)


@pytest.mark.parametrize("address", ["sample:astronaut", "s3://bucket/key"])
def test_an_address_stays_as_it_is(address):
    assert read_config(load_task("image"), [f"data.image={address}"]).data.image == address


@pytest.mark.parametrize(
    ("text", "value"),
    [("a.b=5", 5), ("a.b='#1'", "#1"), ("a.b=[1, 2] # x", [1, 2]), ("a.b=1e-3", 1e-3), ("a.b=", None)],
)
def test_values_are_read_as_yaml(text, value):
    assert parse_override(text) == ("a.b", value)


def test_another_type_drops_the_keys_of_the_one_before():
    asha = parse_document(f"{GOOD}early_terminate: {{type: asha, min_iter: 3, eta: 2}}\n", name="s.yaml")
    assert build_spec(override(asha, ["early_terminate.type=none"])).early_terminate.type == "none"
    kept = build_spec(override(asha, ["early_terminate.type=asha"])).early_terminate
    assert (kept.min_iter, kept.eta) == (3, 2)


def test_of_another_spec_only_what_differs_is_shown():
    before = build_spec(parse_document(GOOD, name="s.yaml"))
    after = build_spec(
        override(parse_document(GOOD, name="s.yaml"), ["parameters.network.hidden.width={min: 4, max: 9}"])
    )
    with pytest.raises(RequestError) as caught:
        refuse_other_spec(before, after, where="runs/small")
    assert str(caught.value).splitlines()[1:] == ["  parameters.network.hidden.width.max: was 8, is 9"]
