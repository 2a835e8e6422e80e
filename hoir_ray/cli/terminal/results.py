"""Results of a sweep: tables of trials and leaders, the outcome, and the next command to type."""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from hoir_ray import wording

if TYPE_CHECKING:
    from hoir_ray.results.record import TrialRecord
    from hoir_ray.results.seeds import Spread
    from hoir_ray.results.sweep_results import SweepResults
    from hoir_ray.spec.conditions import Condition
    from hoir_ray.spec.schema import SweepSpec
    from hoir_ray.sweep.planning.plan import Plan
from hoir_ray.cli.terminal.console import (
    console,
    errors,
    print_json,
    print_table,
    relative_path,
    styled,
    sweep_address,
    warn,
)


def print_trials(opened: SweepResults, *, where: Condition | None, as_json: bool) -> None:
    """Print every trial in the order of creation."""
    from hoir_ray.results.summary import table_rows

    records = opened.records if where is None else [r for r in opened.records if r.best and where.holds(r.best)]
    if as_json:
        print_json(table_rows(records))
        return
    metrics = [m.name for m in opened.spec.metrics]
    rows: list[Sequence[str | Text]] = []
    for record in records:
        best = record.best or {}
        values = [wording.number(best[m]) if m in best else "-" for m in metrics]
        state = Text(record.state, style=wording.STATE_STYLES.get(record.state, "red"))
        again = f" (again {record.replicate_of})" if record.replicate_of else ""
        rows.append(
            [
                record.trial + again,
                state,
                str(record.epochs),
                *values,
                wording.settings(record.parameters),
                record.reason,
            ]
        )
    print_table(["trial", "state", "epochs", *metrics, "settings", "reason"], rows)


def print_best(opened: SweepResults, *, pareto: bool, where: Condition | None, top: int, as_json: bool) -> None:
    """The leaderboard, or the Pareto front."""
    from hoir_ray.errors import RequestError
    from hoir_ray.results.summary import table_rows

    leaders = opened.front(where) if pareto else opened.leaderboard(where)
    if not leaders:
        condition = f" for which {where.text}" if where else ""
        raise RequestError(f"sweep '{opened.spec.name}' has no finished trial{condition} yet")
    shown = leaders if pareto else leaders[:top]
    if as_json:
        print_json(table_rows(shown))
        return
    _print_leaders(opened, shown)
    if shown[0].model is not None:
        to = _unused(f"{shown[0].trial}-model")
        console.print(f"\nnext: hoir pull {sweep_address(opened.storage)} --trial {shown[0].trial} --to {to}")


def print_outcome(opened: SweepResults, *, stop_reason: str | None, command: str | None, is_saved: bool = True) -> None:
    """The end of a sweep: the leaderboard, what went wrong, the best picture, and what to type next."""
    from collections import Counter

    leaders = opened.leaderboard()
    counts = Counter(r.state for r in opened.records)
    console.print()
    if leaders:
        _print_leaders(opened, leaders[:5])
        console.print()
    else:
        _print_nearest_miss(opened)
    summary = ", ".join(f"{n} {state.lower()}" for state, n in sorted(counts.items())) or "no trials"
    console.print(styled((opened.spec.name, "bold"), f": {len(opened.records)} trials: {summary}"))
    causes = Counter(r.reason for r in opened.records if r.failed)
    for cause, count in causes.most_common(5):
        console.print(styled((f"{count} x {cause}", "red")))
    if stop_reason is not None:
        console.print(styled((f"stopped: {stop_reason}", "yellow")))
        if command and any(not r.ended for r in opened.records):
            console.print(f"resume with: {command}")
    if not leaders or not is_saved or leaders[0].model is None:
        return
    best = leaders[0]
    picture = Path(opened.storage.uri, best.picture_key)
    if not opened.storage.uri.startswith("s3://") and picture.is_file():
        console.print(f"best picture: {relative_path(picture)}")
    to = _unused(f"{opened.spec.name}-model")
    console.print(f"next: hoir pull {sweep_address(opened.storage)} --to {shlex.quote(to)}")
    console.print(f"then: hoir render {shlex.quote(to)} --out {shlex.quote(f'{opened.spec.name}.png')}")


def print_beside(opened: SweepResults, plan: Plan) -> None:
    """Print the best network's file beside other codecs' in as many bytes, and publish a sheet and their curves."""
    from hoir_ray.errors import HoirError
    from hoir_ray.results.metrics import metrics_of
    from hoir_ray.results.pull import STORED

    leaders = opened.leaderboard()
    if not leaders or leaders[0].model is None or "stored_bytes" not in metrics_of(leaders[0]):
        return
    from hoir_ray.packs.beside import beside_codecs, publish_sheet
    from hoir_ray.packs.compare import publish_curves
    from hoir_ray.results.management.contents import SHEET

    best = leaders[0]
    try:
        content = opened.storage.get(f"{best.model}/{STORED}")
        found = beside_codecs(content, task=plan.task, config=plan.config(best.parameters))
        if found is None:
            return
        publish_sheet(found, opened.storage)
        publish_curves(opened, task=plan.task, config=plan.config(best.parameters))
    except HoirError as error:  # the picture may be elsewhere by now; the sweep is what counts
        warn([f"no comparison with other codecs: {error}"])
        return
    others = [
        f"{name} at {len(e.content):,} bytes: {e.psnr_db:.2f} dB" if e else f"{name} has no file that small"
        for name, e in found.codecs.items()
    ]
    console.print(f"{best.trial}: {found.size_bytes:,} bytes, {found.psnr_db:.2f} dB; {'; '.join(others)}")
    if opened.storage.folder is not None:
        shown = ", ".join(["original", "network", *(name for name, e in found.codecs.items() if e)])
        console.print(f"side by side ({shown}): {relative_path(opened.storage.folder / SHEET)}")
    page = shlex.quote(f"{opened.spec.name}-codecs.html")
    console.print(f"all of the front: hoir compare-codecs {sweep_address(opened.storage)} --out {page}")


def _print_nearest_miss(opened: SweepResults) -> None:
    """Name the trial that came nearest to the constraints, where none meets them."""
    from hoir_ray.results.metrics import metrics_of
    from hoir_ray.results.ranking import nearest_miss
    from hoir_ray.spec.conditions import parse_condition

    spec = opened.spec
    miss = nearest_miss(opened.records, spec=spec)
    if miss is None:
        return
    metrics = metrics_of(miss)
    broken = [c for c in map(parse_condition, spec.constraints) if not c.holds(metrics)]
    names = dict.fromkeys([*(n for c in broken for n in sorted(c.names)), spec.metric.name])
    shown = ", ".join(f"{n} {wording.number(metrics[n])}" for n in names if n in metrics)
    missed = " and ".join(c.text for c in broken)
    console.print(styled((f"no trial meets {missed}; the nearest is {miss.trial} with {shown}", "yellow")))


def print_story(record: TrialRecord, spec: SweepSpec, *, as_json: bool) -> None:
    """Print a trial's record as lines of text."""
    from hoir_ray.results.story import tell

    if as_json:
        print_json(record.model_dump(mode="json"))
        return
    for line in tell(record, spec):
        console.print(line)


def print_sent(num_runs: int) -> None:
    console.print(f"sent {num_runs} run{'s' if num_runs != 1 else ''} to W&B" if num_runs else "nothing left to send")


def print_pulled(record: TrialRecord, to: Path) -> None:
    console.print(f"pulled {record.trial} to {to}: {record.reason}")
    console.print(f"next: hoir render {shlex.quote(str(to))} --out picture.png")


def print_report(out: Path, *, beside_json: bool = False) -> None:
    """Name the page that was written.

    Args:
        beside_json: Standard output is JSON.
    """
    (errors if beside_json else console).print(
        f"wrote {out!s}: {out.stat().st_size / 1e6:.1f} MB; open it in a browser"
    )


def print_watching(address: str) -> None:
    errors.print(f"the report is at {address} and follows the sweep; Ctrl-C ends it")


def print_dashboard(address: str) -> None:
    errors.print(f"Optuna's dashboard is at {address} and shows the sweep as it was just now; Ctrl-C ends it")


def _print_leaders(opened: SweepResults, leaders: Sequence[TrialRecord]) -> None:
    from hoir_ray.results.front import knee
    from hoir_ray.results.metrics import metrics_of
    from hoir_ray.results.seeds import spreads, ties

    names = list(dict.fromkeys([*(m.name for m in opened.spec.metrics), "num_parameters"]))
    seeds = {name: spreads(opened.records, metric=name) for name in names[: len(opened.spec.metrics)]}
    bend = knee(opened.front(), metrics=opened.spec.metrics)
    seeds.pop("num_parameters", None)  # no seed changes it
    over = [f"{name} over seeds" for name, known in seeds.items() if known]
    rows: list[Sequence[str | Text]] = []
    for place, record in enumerate(leaders, start=1):
        best = metrics_of(record)
        values = [wording.number(best[m]) if m in best else "-" for m in names]
        values += [_spread(known.get(record.trial)) for known in seeds.values() if known]
        epoch = wording.number(best.get("epoch", 0))
        name = f"{record.trial} knee" if bend is not None and record.trial == bend.trial else record.trial
        rows.append([str(place), name, *values, epoch, wording.settings(record.parameters)])
    print_table(["", "trial", *names, *over, "epoch", "settings"], rows)
    same = ties(leaders, opened.records, metric=names[0])
    if same:
        console.print(f"{leaders[0].trial} and {', '.join(same)} cannot be told apart by {names[0]} over their seeds")


def _spread(over_seeds: Spread | None) -> str:
    if over_seeds is None:
        return "-"
    return wording.mean_over_seeds(over_seeds.mean, over_seeds.deviation, num_seeds=over_seeds.num_seeds)


def _unused(name: str) -> str:
    """The name, or one with a number, that nothing in the working directory has."""
    names = (name if n == 1 else f"{name}-{n}" for n in itertools.count(1))
    return next(n for n in names if not Path(n).exists())
