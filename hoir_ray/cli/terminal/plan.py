"""The plan of a checked sweep, as `hoir validate` prints it."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hoir_ray import wording

if TYPE_CHECKING:
    from hoir_ray.search.portfolio.document import Portfolio
    from hoir_ray.search.warm_start import WarmStartData
    from hoir_ray.sweep.planning.plan import Plan
    from hoir_ray.sweep.planning.workload import Workload
from hoir_ray.cli.terminal.console import console, print_json, print_pairs, styled, warn


def print_started(out: Path) -> None:
    console.print(f"wrote {out}")
    console.print(f"next: hoir sweep {shlex.quote(str(out))}")


def print_plan(
    plan: Plan,
    *,
    warm_start: WarmStartData,
    workload: Workload,
    measured: dict[str, dict[str, float]] | None,
    file: Path,
    as_json: bool,
) -> None:
    """Print a checked sweep: its search, its networks' sizes, its budget, and what it may take."""
    spec = plan.spec
    facts: dict[str, Any] = {
        "sweep": spec.name,
        "task": spec.task,
        "method": spec.method,
        "metrics": [m.model_dump() for m in spec.metrics],
        "parameters": sorted({d.path for d in plan.space.dimensions}),
        "smallest_network": plan.smallest.num_parameters,
        "largest_network": plan.largest.num_parameters,
        "feasible_sizes": list(plan.feasible),
        "grid_size": plan.grid_size,
        "max_trials": spec.budget.max_trials,
        "wall_clock_s": spec.budget.wall_clock,
        "storage": spec.storage.uri,
        "start_from": {
            "sources": list(warm_start.sources),
            "points": len(warm_start.points),
            "observed": len(warm_start.observed),
            "left_out": list(warm_start.left_out),
        },
        "warnings": list(plan.warnings),
        "measured": measured,
        "workload": {**asdict(workload), "total_s": workload.total_s},
    }
    if as_json:
        print_json(facts)
        return
    warn([*plan.warnings, *(f"start_from: {line}" for line in warm_start.left_out)])
    console.print(styled((f"{file} is a valid sweep", "green")))
    goals = ", ".join(f"{m.goal} {m.name}" for m in spec.metrics)
    budget = [f"{spec.budget.max_trials} trials"] if spec.budget.max_trials else []
    budget += [wording.duration(spec.budget.wall_clock)] if spec.budget.wall_clock else []
    searched = sorted({d.path for d in plan.space.dimensions if len(d.corners()) > 1})
    rows = {
        "sweep": f"{spec.name}, task {spec.task}",
        "search": f"{spec.method}: {goals}",
        **(
            {"target": f"{spec.target.constraint}, with the best {spec.metric.name}"} if spec.target is not None else {}
        ),
        "searched": ", ".join(map(wording.short_name, searched)),
        "networks": f"{plan.smallest.num_parameters:,} to {plan.largest.num_parameters:,} parameters"
        + (f"; the constraints leave {plan.feasible[0]:,} to {plan.feasible[1]:,}" if spec.constraints else ""),
        "budget": " or ".join(budget),
        "work": workload.steps,
        "time": workload.time,
        "storage": f"{spec.storage.uri}, {workload.storage}",
    }
    if plan.grid_size is not None:
        rows["grid"] = f"{plan.grid_size:,} points"
    if warm_start.sources:
        rows["starts from"] = warm_start.summary
    for name, numbers in (measured or {}).items():
        rows[name] = f"built and run, {numbers['num_parameters']:,} parameters, {numbers['epoch_s']:.2g} s an epoch"
    print_pairs(rows)


def print_portfolio(portfolio: Portfolio, *, out: Path) -> None:
    """Print a learned portfolio, a line for each size band."""
    console.print(f"[green]{out}[/green]: {portfolio.task}, {portfolio.metric}, from {', '.join(portfolio.sources)}")
    for band in portfolio.bands:
        size = "any size" if band.max_parameters is None else f"at most {band.max_parameters:,} parameters"
        console.print(f"  {size}: {len(band.configurations)} configurations")
    console.print(f"use it with: start_from: {out}")
