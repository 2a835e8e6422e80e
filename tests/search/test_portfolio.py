"""Portfolios: what is learned from sweeps, what of it a space allows, files that are refused, and `start_from`."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoir_ray.errors import RequestError, SpecError
from hoir_ray.results.sweep_results import SPEC, SweepResults, open_sweep
from hoir_ray.search.gaussian_process.candidates import random_point
from hoir_ray.search.portfolio.document import (
    Band,
    Portfolio,
    dump_portfolio,
    load_portfolio,
    shipped_portfolio,
)
from hoir_ray.search.portfolio.learn import SourceSweep, chosen_greedily, learn_portfolio
from hoir_ray.search.portfolio.start import snapped, start_points, unknown_paths
from hoir_ray.search.warm_start import gather_warm_start, load_warm_start, save_warm_start
from hoir_ray.spec.document import parse_document
from hoir_ray.spec.load import build_spec
from hoir_ray.spec.schema import Start
from hoir_ray.spec.space import Space, build_space
from hoir_ray.storage import open_storage
from hoir_ray.sweep.planning.plan import plan_sweep
from hoir_ray.tasks.contract import TaskConfig
from hoir_ray.testing.example import TEXT, build_driver, run
from tests.search.play import allowed, choice, number

SPACE = Space(
    (
        choice("kind", "a", "b"),
        number("width", 8, 32, step=1, is_int=True),
        choice("batch", 16, 64, 256),
        number("parts", 2, 9, step=1, is_int=True, when={"kind": ("a",)}),
        choice("fixed", 5),
    )
)


def portfolio_of(*configurations, **more) -> Portfolio:
    more = {"task": "none", **more}
    return Portfolio(metric="loss", bands=(Band(configurations=configurations),), **more)


# -- learning -------------------------------------------------------------------------------------------------------


def test_the_chosen_lead_between_them_wherever_they_are_tried():
    losses = np.array([[1, 9, 9], [9, 1, 9], [9, 9, 1], [3, 3, 3], [8, 8, 8]], float)
    assert chosen_greedily(losses, count=1) == [3]
    assert set(chosen_greedily(losses, count=4)) == {0, 1, 2, 3}
    assert chosen_greedily(losses, count=9)[-1] == 4


@given(st.integers(1, 12), st.integers(1, 5), st.integers(0, 999))
def test_every_choice_is_distinct_and_more_of_them_are_never_worse(rows, columns, seed):
    losses = np.random.default_rng(seed).integers(0, 5, (rows, columns)).astype(float)
    chosen = chosen_greedily(losses, count=8)
    assert len(set(chosen)) == len(chosen) == min(8, rows)
    means = [losses[chosen[:n]].min(0).mean() for n in range(1, len(chosen) + 1)]
    assert all(later <= earlier for earlier, later in itertools.pairwise(means))


def sweep_at(folder: Path, name: str, text: str = TEXT, *, trials: int = 30) -> SweepResults:
    text = text.replace("name: simulated", f"name: {name}").replace("max_trials: 12", f"max_trials: {trials}")
    storage = open_storage(str(folder)).child(name)
    run(build_driver(storage, text))
    storage.put(SPEC, text.encode())
    return open_sweep(storage)


def source(results: SweepResults) -> SourceSweep:
    return SourceSweep(results, build_space(results.spec, TaskConfig))


def test_a_portfolio_of_sweeps_has_their_best_first_for_each_size(tmp_path):
    sweeps = [source(sweep_at(tmp_path, name, TEXT + f"seed: {i}\n")) for i, name in enumerate(("one", "two"))]
    portfolio = learn_portfolio(sweeps, count=3)
    assert portfolio.sources == ("one", "two")
    assert portfolio.bands[0].max_parameters is None
    first = portfolio.bands[0].configurations[0]
    assert abs(first["network.hidden.width"] - 40) <= 4  # where both are best
    assert len(portfolio.bands[0].configurations) == 3


def test_sweeps_of_several_metrics_or_with_too_few_trials_are_refused(tmp_path):
    good = source(sweep_at(tmp_path, "good"))
    other = source(sweep_at(tmp_path, "other", TEXT.replace("goal: maximize", "goal: minimize")))
    with pytest.raises(RequestError, match="'other' is led by minimize quality, 'good' by maximize quality"):
        learn_portfolio([good, other])
    few = source(sweep_at(tmp_path, "few", trials=3))
    with pytest.raises(RequestError, match="'few' has 3 finished trials; to learn from it takes 5"):
        learn_portfolio([good, few])


# -- starting -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("configuration", "expected"),
    [
        ({"kind": "a", "width": 100, "batch": 100, "parts": 1}, {"kind": "a", "width": 32, "batch": 64, "parts": 2}),
        ({"kind": "b", "width": 9.6, "batch": 16, "parts": 4}, {"kind": "b", "width": 10, "batch": 16}),
        ({"width": 12, "unknown": 3}, {"width": 12}),
    ],
)
def test_numbers_move_to_the_nearest_that_is_searched(configuration, expected):
    assert snapped(configuration, SPACE) == {**expected, "fixed": 5}


@pytest.mark.parametrize(
    ("configuration", "why"),
    [
        ({"kind": "c", "width": 9}, "kind: c is not among the values searched here"),
        ({"kind": "a", "width": "wide"}, "width: wide is not among"),
        ({"kind": "a", "fixed": 6}, "fixed: 6 is not among"),
        ({"elsewhere": 1}, "none of the parameters searched here"),
    ],
)
def test_what_a_space_does_not_allow_is_said(configuration, why):
    assert why in snapped(configuration, SPACE)


def test_a_setting_of_the_network_stands_for_those_of_its_layers_where_they_allow_it():
    types = (
        choice("network.input.layer_type", "continuous", "fourier"),
        choice("network.output.layer_type", "linear", "relu"),
    )
    space = Space((*types, number("network.hidden.num_nodes", 2, 9, step=1, is_int=True)))
    configuration = {"network.layer_type": "fourier", "network.num_nodes": 31, "network.input.layer_type": "continuous"}
    assert snapped(configuration, space) == {"network.input.layer_type": "continuous", "network.hidden.num_nodes": 9}
    portfolio = portfolio_of(configuration, {"network.hidden.width": 3})
    assert unknown_paths(portfolio, space) == ("network.hidden.width",)


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_a_snapped_point_is_one_of_the_space(one, other):
    wide = Space(
        (
            choice("kind", "a", "b", "c"),
            number("width", 1, 99, step=1, is_int=True),
            choice("batch", 1, 1000),
            number("parts", 0, 50, step=1, is_int=True, when={"kind": ("a", "b")}),
        )
    )
    point = snapped(random_point(wide, np.random.default_rng(one)), SPACE)
    if isinstance(point, str):
        assert point.startswith("kind: c")
        return
    completed = random_point(SPACE, np.random.default_rng(other), given=point)
    assert completed.items() >= point.items()


def test_the_first_that_fit_are_taken_and_refused_ones_are_not():
    portfolio = portfolio_of(*({"kind": "a", "width": w, "batch": 16, "parts": 3} for w in range(8, 33)))
    start = start_points(portfolio, SPACE, refuse=lambda p: "odd" if p["width"] % 2 else None, name="p")
    assert [p["width"] for p in start.points] == [8, 10, 12, 14, 16, 18, 20, 22]
    assert start.left_out == ()


def test_where_sizes_differ_on_purpose_each_band_has_its_turn():
    bands = [Band(max_parameters=m, configurations=({"width": w}, {"width": w + 1})) for m, w in ((None, 30), (9, 8))]
    portfolio = Portfolio(task="none", metric="loss", bands=tuple(bands))
    widths = [
        [p["width"] for p in start_points(portfolio, SPACE, refuse=allowed, name="p", several_sizes=s).points]
        for s in (False, True)
    ]
    assert widths == [[30, 31, 8, 9], [30, 8, 31, 9]]


def test_a_portfolio_of_which_nothing_fits_is_said_and_leaves_the_sweep_alone():
    start = start_points(portfolio_of({"kind": "z"}, {"kind": "y"}), SPACE, refuse=allowed, name="mine.yaml")
    assert start.points == ()
    assert start.left_out == (
        "none of the 2 configurations of mine.yaml fits this space, such as kind: z is not among the values searched "
        "here",
    )


# -- files ----------------------------------------------------------------------------------------------------------


def test_a_portfolio_is_read_as_it_was_written(tmp_path):
    portfolio = portfolio_of({"a.b": 1, "c": 0.25, "d": "x", "e": True}, sources=("s",))
    path = tmp_path / "p.yaml"
    path.write_text(dump_portfolio(portfolio))
    assert load_portfolio(path) == portfolio


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("format: 9\nanything: 1\n", "format 9, this version reads up to 1; update hoir-ray"),
        ("task: none\nmetric: m\nbands: 3\n", "is no portfolio that `hoir learn` wrote: bands"),
        ("task: none\nmetric: m\nbands: [{configurations: [{}]}]\n", "is no portfolio"),
        ("task: none\nmetric: m\nbands: [{configurations: [{a: [1]}]}]\n", "is no portfolio"),
        ("task: [\n", "p.yaml"),
        ("- 1\n", "p.yaml"),
        ("", "p.yaml"),
    ],
)
def test_a_file_that_is_no_portfolio_is_one_line(tmp_path, text, complaint):
    path = tmp_path / "p.yaml"
    path.write_text(text)
    with pytest.raises(SpecError) as error:
        load_portfolio(path)
    assert complaint in str(error.value)
    assert "p.yaml" in str(error.value)


def test_every_shipped_configuration_is_one_of_its_task():
    portfolio = shipped_portfolio("image")
    assert portfolio is not None
    for band in portfolio.bands:
        for configuration in band.configurations:
            values = {path: {"value": value} for path, value in configuration.items()}
            spec = {"name": "s", "task": "image", "data": {"image": "sample:astronaut"}, "parameters": values}
            document = parse_document("a: 1\n", name="s.yaml")
            document.data.clear()
            document.data.update(spec, metric={"name": portfolio.metric}, budget={"max_trials": 1})
            plan = plan_sweep(build_spec(document))
            assert band.max_parameters is None or plan.largest.num_parameters <= band.max_parameters


# -- start_from -----------------------------------------------------------------------------------------------------


def spec_with(more):
    return build_spec(parse_document(TEXT + more, name="s.yaml"))


def begun(spec, folder, **more):
    return load_warm_start(spec, build_space(spec, TaskConfig), own=open_storage(str(folder)).child("own"), **more)


def test_a_file_and_a_sweep_are_tried_first_recorded_and_taken_up_again(tmp_path):
    earlier = sweep_at(tmp_path, "earlier")
    file = tmp_path / "p.yaml"
    best = {"network.layer_type": "fourier", "network.hidden.width": 41, "training.optimizer.lr": 0.011}
    file.write_text(dump_portfolio(portfolio_of(best)))
    spec = spec_with(f"start_from: [{file}, {earlier.storage.uri}]\n")
    taken = begun(spec, tmp_path)
    assert taken.points[0] == best
    assert taken.points[1] == earlier.leaderboard()[0].parameters
    assert taken.sources == (str(file), earlier.storage.uri)
    own = open_storage(str(tmp_path)).child("own")
    save_warm_start(taken, own)
    file.unlink()
    assert begun(spec, tmp_path, has_begun=True) == taken
    driver = build_driver(own, TEXT, warm_start=taken)
    run(driver)
    tried = [r.parameters for r in sorted(driver.records.values(), key=lambda r: r.number)]
    assert tried[0].items() >= best.items()
    assert tried[1] == taken.points[1]


def test_a_portfolio_of_another_task_or_with_unknown_parameters_is_said_and_the_sweep_goes_on(tmp_path):
    other, odd = tmp_path / "other.yaml", tmp_path / "odd.yaml"
    other.write_text(dump_portfolio(portfolio_of({"network.hidden.width": 4}, task="image")))
    odd.write_text(dump_portfolio(portfolio_of({"network.hidden.width": 9, "network.wings": 2})))
    taken = begun(spec_with(f"start_from: [{other}, {odd}]\n"), tmp_path)
    assert [p["network.hidden.width"] for p in taken.points] == [9]
    assert taken.sources == (str(odd),)
    assert taken.left_out == (
        f"{other} is a portfolio for task 'image', and this sweep is of 'none'",
        f"{odd}: network.wings is not searched here",
    )


def test_a_sweep_that_began_cold_stays_so(tmp_path):
    file = tmp_path / "p.yaml"
    file.write_text(dump_portfolio(portfolio_of({"network.hidden.width": 41})))
    spec = spec_with(f"start_from: {file}\n")
    assert begun(spec, tmp_path, has_begun=True).points == ()
    assert len(begun(spec, tmp_path).points) == 1


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        ("start_from: [none, default]\n", "'none' stands alone"),
        ("start_from: []\n", "start_from"),
        ("method: grid\nstart_from: default\n", "a grid tries every point anyway"),
    ],
)
def test_a_start_that_means_nothing_is_refused(more, complaint):
    with pytest.raises(SpecError, match=complaint):
        spec_with(more)


@pytest.mark.parametrize(("source", "complaint"), [("nowhere.yaml", "nowhere.yaml"), ("no-sweep", "no sweep at")])
def test_a_start_that_is_not_there_is_one_line_with_its_place(tmp_path, source, complaint):
    document = parse_document(TEXT + f"start_from: {tmp_path}/{source}\n", name="s.yaml")
    spec = build_spec(document)
    with pytest.raises(SpecError, match=rf"^start_from: .*{complaint}.*\(s\.yaml:\d+\)$") as error:
        gather_warm_start(spec, build_space(spec, TaskConfig), document=document)
    assert "\n" not in str(error.value)


def test_the_default_is_for_searches_that_learn_and_for_tasks_that_have_one():
    assert spec_with("").starts == spec_with("method: tpe\n").starts == (Start(source="default"),)
    assert spec_with("method: random\n").starts == spec_with("start_from: none\n").starts == ()
    assert shipped_portfolio("none") is None
