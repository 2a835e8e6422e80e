"""The terminal's live view of a sweep: whole at 80 columns, and a line per event in a log."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from hoir_ray.cli.terminal.live import LiveView
from hoir_ray.storage import open_storage
from hoir_ray.sweep.driving.driver import Driver
from hoir_ray.sweep.event_lines import EventLines
from hoir_ray.testing.example import TEXT, build_driver, run

FRONT = TEXT.replace(
    "metric: {name: quality, goal: maximize}",
    "metrics: [{name: quality, goal: maximize}, {name: num_parameters, goal: minimize}]",
)


class OneSlot:
    def slots(self, resources: object) -> int:
        return 2


@pytest.fixture
def storage(tmp_path):
    return open_storage(str(tmp_path)).child("simulated")


def screen(driver: Driver, *, steps: int) -> str:
    console = Console(file=io.StringIO(), width=80, force_terminal=False)
    view = LiveView(driver, OneSlot(), console=console)  # type: ignore[arg-type]
    driver.board.listeners.append(view)
    try:
        run(driver, slots=2, num_epochs=steps)
        with console.capture() as captured:
            console.print(view._render())
    finally:
        view.close()
    return captured.get()


@pytest.mark.parametrize("text", [TEXT, FRONT], ids=["single", "front"])
def test_the_view_is_whole_at_eighty_columns(storage, text):
    driver = build_driver(storage, text + "early_terminate: {type: asha, min_iter: 2, eta: 3}\n")
    shown = screen(driver, steps=20)
    assert max(map(len, shown.splitlines())) <= 80
    assert re.search(r"simulated  \d+/12 trials", shown)
    for name in driver.running:
        assert name in shown
    assert "▁" in shown
    assert ("front (" if text == FRONT else "best ") in shown
    for record in [r for r in driver.records.values() if r.ended][-1:]:
        assert record.reason in " ".join(shown.split())


def test_a_log_has_a_line_per_event_and_says_who_leads(storage):
    driver, out = build_driver(storage, TEXT), io.StringIO()
    driver.board.listeners.append(EventLines(driver, OneSlot(), out=out))  # type: ignore[arg-type]
    run(driver)
    lines = out.getvalue().splitlines()
    assert sum(" started: " in line for line in lines) == 12
    assert sum(" FINISHED: " in line for line in lines) == 12
    assert 1 <= sum(" is the best so far: quality " in line for line in lines) < 12
    assert not any("\x1b" in line for line in lines)


def test_a_log_says_who_joins_the_front_and_who_is_not_feasible(storage):
    text = FRONT + "constraints: [quality >= 20]\n"
    driver, out = build_driver(storage, text), io.StringIO()
    driver.board.listeners.append(EventLines(driver, OneSlot(), out=out))  # type: ignore[arg-type]
    run(driver)
    assert " is on the front, of 1 by now: quality " in out.getvalue()
    infeasible = [r for r in driver.records.values() if (r.best or {})["quality"] < 20]
    assert out.getvalue().count("is not feasible: quality >= 20 does not hold") == len(infeasible)
