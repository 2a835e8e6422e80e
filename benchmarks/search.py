"""Trials and epochs until a search comes near the best known PSNR, ours beside others'.

    python benchmarks/search.py [--curves FILE ...] [--seeds 10] [--trials 100] [--noise DB | --again FILE]
    python benchmarks/search.py --quick

Every search asks for networks whose learning curves were recorded from real training (`record_curves.py`), or lie
between recorded ones (of the wide space of thirteen parameters: near them), four trials at a time, an epoch each in
turn. A search that does not get there counts with all that it spent. The best that is known was found by a search of
its own, longer than any that is compared.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from multiprocessing import Pool
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import optuna
from landscape import MAX_EPOCHS, Landscape, Point, landscape_of, noise_between  # type: ignore[import-not-found]  # the file beside this one
from record_curves import CURVES  # type: ignore[import-not-found]
from wide import WideLandscape, is_wide, wide_landscape_of, wide_noise_between  # type: ignore[import-not-found]

from hoir_ray.search.warm_start import gather_warm_start
from hoir_ray.spec.load import build_spec
from hoir_ray.spec.space import Dimension, Space
from hoir_ray.sweep.driving.driver import Driver
from hoir_ray.sweep.planning.plan import plan_sweep
from hoir_ray.testing.simulation import NoLedger

SLOTS, FIRST_RUNG, MIN_EPOCHS, ETA = 4, 9, 3, 3  # ours stops at a third of the epochs, others as they advise
SHARES = (0.95, 0.99)  # of the best known value
CONSTRAINT = 5_000


class Search(Protocol):
    """One contender."""

    def ask(self) -> tuple[str, Point] | None: ...
    def report(self, name: str, *, epoch: int, value: float) -> bool:
        """Report a value and return whether the trial is stopped."""

    def finish(self, name: str, *, value: float) -> None: ...


class Ours:
    """The product's driver with its searcher and stopping rule, its records kept nowhere."""

    def __init__(
        self,
        seed: int,
        *,
        landscape: Landscape | WideLandscape,
        trials: int,
        method: str = "bayes",
        stop: str = "asha",
        start: str = "none",
    ) -> None:
        budget = f"budget: {{max_trials: {trials}}}\nmethod: {method}\nseed: {seed}\nstart_from: {start}\n"
        document = landscape.document(budget + f"early_terminate: {{type: {stop}, min_iter: {FIRST_RUNG}}}\n")
        plan = plan_sweep(build_spec(document), document)
        self._driver = Driver(
            spec=plan.spec,
            space=plan.space,
            ledger=NoLedger(),
            candidate=plan.candidate,
            warm_start=gather_warm_start(plan.spec, plan.space, document=document, refuse=plan.refuse),
        )

    def ask(self) -> tuple[str, Point] | None:
        record = self._driver.next()
        if record is None:
            return None
        self._driver.started(record.trial)
        return record.trial, dict(record.parameters)

    def report(self, name: str, *, epoch: int, value: float) -> bool:
        return self._driver.reported(name, {"epoch": float(epoch), "val_psnr_db": value}) is not None

    def finish(self, name: str, *, value: float) -> None:
        self._driver.succeeded(name, reason="trained to the end", model=None)


def draw(space: Space, trial: optuna.Trial) -> Point:
    def suggest(dimension: Dimension) -> Any:
        if dimension.choices is not None:
            return trial.suggest_categorical(dimension.name, dimension.choices)
        if dimension.is_int:
            step = 1 if dimension.log else int(dimension.step)
            return trial.suggest_int(
                dimension.name, int(dimension.low), int(dimension.high), step=step, log=dimension.log
            )
        return trial.suggest_float(dimension.name, dimension.low, dimension.high, log=dimension.log)

    return space.draw(suggest)


class OptunaAlone:
    """Ask and tell with a sampler and a pruner of Optuna's own."""

    def __init__(
        self,
        seed: int,
        *,
        landscape: Landscape | WideLandscape,
        trials: int,
        pruner: optuna.pruners.BasePruner,
        **options: Any,
    ) -> None:
        sampler = optuna.samplers.TPESampler(seed=seed, **options)
        self._study = optuna.create_study(direction="maximize", sampler=sampler, pruner=pruner)
        self._space, self._left, self._open = landscape.plan.space, trials, dict[str, optuna.Trial]()

    def ask(self) -> tuple[str, Point] | None:
        if self._left == 0:
            return None
        self._left -= 1
        trial = self._study.ask()
        self._open[str(trial.number)] = trial
        return str(trial.number), draw(self._space, trial)

    def report(self, name: str, *, epoch: int, value: float) -> bool:
        trial = self._open[name]
        trial.report(value, epoch)
        if epoch < MAX_EPOCHS and trial.should_prune():
            self._study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            return True
        return False

    def finish(self, name: str, *, value: float) -> None:
        self._study.tell(self._open[name], value)


class RaySearch:
    """Ray's OptunaSearch and its ASHAScheduler, called as Tune's controller calls them."""

    def __init__(self, seed: int, *, landscape: Landscape | WideLandscape, trials: int) -> None:
        from ray.tune.schedulers import ASHAScheduler
        from ray.tune.search.optuna import OptunaSearch

        np.random.seed(seed)  # the scheduler draws brackets from it
        sampler = optuna.samplers.TPESampler(seed=seed)
        self._search: Any = OptunaSearch(
            partial(self._define, landscape.plan.space), metric="val_psnr_db", mode="max", sampler=sampler
        )
        self._asha: Any = ASHAScheduler(
            metric="val_psnr_db", mode="max", max_t=MAX_EPOCHS, grace_period=MIN_EPOCHS, reduction_factor=ETA
        )
        self._left, self._open = trials, dict[str, Any]()

    @staticmethod
    def _define(space: Space, trial: optuna.Trial) -> None:
        draw(space, trial)

    def ask(self) -> tuple[str, Point] | None:
        if self._left == 0:
            return None
        self._left -= 1
        name = f"r{self._left}"
        drawn = self._search.suggest(name)
        self._open[name] = type("Trial", (), {"trial_id": name})()
        self._asha.on_trial_add(None, self._open[name])
        return name, {key.split("@")[0]: value for key, value in drawn.items()}

    def report(self, name: str, *, epoch: int, value: float) -> bool:
        result = {"training_iteration": epoch, "val_psnr_db": value}
        action = self._asha.on_trial_result(None, self._open[name], result)
        if action == "STOP" and epoch < MAX_EPOCHS:  # Tune hands the searcher the last result of a stopped trial
            self._search.on_trial_complete(name, result=result)
            return True
        self._search.on_trial_result(name, result)
        return False

    def finish(self, name: str, *, value: float) -> None:
        result = {"training_iteration": MAX_EPOCHS, "val_psnr_db": value}
        self._asha.on_trial_complete(None, self._open[name], result)
        self._search.on_trial_complete(name, result=result)


@dataclass(frozen=True)
class Outcome:
    """Outcome of a search; `reached` has trials and epochs for each share of the best known value that it came to."""

    reached: dict[float, tuple[int, int]]
    spent: tuple[int, int]
    infeasible: int
    best: float
    ask_ms: float  # of the processor for a point, with what the search learns from its trial's epochs


def run(search: Search, landscape: Landscape | WideLandscape, *, seed: int) -> Outcome:
    """Step the trials in turn until the search has no more."""
    active: list[tuple[str, list[float], bool, int]] = []
    trials = epochs = infeasible = 0
    best, reached = 0.0, dict[float, tuple[int, int]]()
    goals, began = {share: share * landscape.best for share in SHARES}, time.process_time()
    while True:
        while len(active) < SLOTS and (asked := search.ask()) is not None:
            name, point = asked
            inside = landscape.feasible(point)
            trials, infeasible = trials + 1, infeasible + (not inside)
            active.append((name, landscape.measured(point, seed=seed), inside, 0))
        if not active:
            ask_ms = (time.process_time() - began) / trials * 1e3
            return Outcome(reached, (trials, epochs), infeasible, best, ask_ms)
        name, curve, inside, epoch = active.pop(0)
        epoch, epochs = epoch + 1, epochs + 1
        value = curve[epoch - 1]
        best = max(best, value) if inside else best
        for share, goal in goals.items():
            if best >= goal:
                reached.setdefault(share, (trials, epochs))
        if search.report(name, epoch=epoch, value=value):
            continue
        if epoch == MAX_EPOCHS:
            search.finish(name, value=max(curve))
        else:
            active.append((name, curve, inside, epoch))


HALVING = partial(optuna.pruners.SuccessiveHalvingPruner, min_resource=MIN_EPOCHS, reduction_factor=ETA)
CONTENDERS: dict[str, Callable[..., Search]] = {
    # The default portfolio was learned from other pictures than those whose curves are here.
    "ours: portfolio, Gaussian process, ASHA": partial(Ours, start="default"),
    "ours: Gaussian process, ASHA": Ours,
    "ours: Gaussian process, forecast": partial(Ours, stop="forecast"),
    "ours: TPE, ASHA": partial(Ours, method="tpe"),
    "ours: random, ASHA": partial(Ours, method="random"),
    "Ray: OptunaSearch, ASHAScheduler": RaySearch,
    "Optuna: TPE, MedianPruner": lambda seed, **what: OptunaAlone(seed, pruner=optuna.pruners.MedianPruner(), **what),
    # What Optuna's AutoSampler takes for a space with conditions.
    "Optuna: TPE, multivariate and group, MedianPruner": lambda seed, **what: OptunaAlone(
        seed, pruner=optuna.pruners.MedianPruner(), multivariate=True, group=True, **what
    ),
    "Optuna: TPE, SuccessiveHalvingPruner": lambda seed, **what: OptunaAlone(seed, pruner=HALVING(), **what),
}


def landscape_at(name: str, limit: int | None, curves: Path, noise: float) -> Landscape | WideLandscape:
    """Landscape of a file of either kind."""
    return wide_landscape_of(limit, curves, noise) if is_wide(curves) else landscape_of(name, limit, curves, noise)


def attempt(name: str, space: tuple[Any, ...], seed: int, *, trials: int) -> Outcome:
    warnings.simplefilter("ignore")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    logging.disable(logging.INFO)
    landscape = landscape_at(*space)
    return run(CONTENDERS[name](seed, landscape=landscape, trials=trials), landscape, seed=seed)


def spread(values: list[float], digits: int) -> str:
    return f"{statistics.fmean(values):.{digits}f} ± {statistics.stdev(values) if len(values) > 1 else 0:.{digits}f}"


def compare(pool: Any, space: tuple[Any, ...], *, seeds: int, trials: int) -> None:
    """Print one table."""
    landscape = landscape_at(*space)
    within = f", at most {landscape.limit:,} parameters" if landscape.limit else ""
    shares = " and ".join(f"{landscape.share(s * landscape.best):.2%} reach {s:.0%} of it" for s in SHARES)
    print(f"\n{landscape.curves.stem}, {landscape.name} networks{within}")
    print(f"the best known has {landscape.best:.2f} dB, {shares}")
    columns = [f"{what} to {s:.0%}" for s in SHARES for what in ("reached, trials", "epochs")]
    print(f"{seeds} seeds, {trials} trials each, {landscape.noise:.2f} dB of noise\n")
    print(
        f"| search | {' | '.join(columns)} | dB missing at the end | epochs in all | infeasible trials | ms a trial |"
    )
    print("|---|" + "---|" * (len(columns) + 4))
    for name in CONTENDERS:
        outcomes: list[Outcome] = pool.map(partial(attempt, name, space, trials=trials), range(seeds), chunksize=1)
        cells = []
        for share in SHARES:
            spent = [o.reached.get(share, o.spent) for o in outcomes]
            times = f"{sum(share in o.reached for o in outcomes)} of {seeds}"
            cells += [f"{times}, {spread([t for t, _ in spent], 0)}", spread([e for _, e in spent], 0)]
        cells.append(spread([landscape.best - o.best for o in outcomes], 2))
        cells += [f"{statistics.fmean(o.spent[1] for o in outcomes):.0f}", str(sum(o.infeasible for o in outcomes))]
        cells.append(f"{statistics.fmean(o.ask_ms for o in outcomes):.0f}")
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--curves", type=Path, nargs="+", default=[CURVES], help="files that record_curves.py wrote")
    parser.add_argument("--noise", type=float, default=0.0, help="of a trial's curve, in dB")
    parser.add_argument("--again", type=Path, help="the first of the curves recorded with another seed: their noise")
    parser.add_argument("--quick", action="store_true", help="2 seeds, 20 trials")
    arguments = parser.parse_args()
    seeds, trials = (2, 20) if arguments.quick else (arguments.seeds, arguments.trials)
    noise = arguments.noise
    if arguments.again:
        between = wide_noise_between if is_wide(arguments.again) else noise_between
        noise = between(arguments.curves[0], arguments.again)
    with Pool(2) as pool:
        for curves in arguments.curves:
            for limit in (None, CONSTRAINT):
                for name in ("nearest recorded",) if is_wide(curves) else ("between", "recorded"):
                    compare(pool, (name, limit, curves, noise), seeds=seeds, trials=trials)


if __name__ == "__main__":
    main()
