"""Trials and epochs until a search has a network within 1 % of the best known PSNR, ours beside others'.

    python benchmarks/search.py [--seeds 12] [--trials 100]
    python benchmarks/search.py --quick

Every search asks for points of one grid, whose learning curves were recorded from real training (`record_curves.py`),
four trials at a time, an epoch each in turn. A search that does not get there counts with all that it spent.
"""

from __future__ import annotations

import argparse
import json
import logging
import statistics
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
import optuna
from record_curves import CURVES, SPEC, key_of  # type: ignore[import-not-found]  # the file beside this one

from hoir_ray.document import parse_document
from hoir_ray.ledger import TrialRecord
from hoir_ray.spec import build_spec
from hoir_ray.sweep.driver import Driver
from hoir_ray.sweep.plan import plan_sweep
from hoir_ray.sweep.space import Dimension, Space

SLOTS, MIN_EPOCHS, MAX_EPOCHS, ETA = 4, 3, 27, 3
SHARE = 0.99
CONSTRAINT = 5_000
TEXT = SPEC.replace("values: [8, 16, 24, 32]}", "min: 8, max: 32, q: 8}").replace("method: grid\n", "")
Point = dict[str, Any]


class Search(Protocol):
    """One contender."""

    def ask(self) -> tuple[str, Point] | None: ...
    def report(self, name: str, *, epoch: int, value: float) -> bool:
        """Whether the trial is stopped."""

    def finish(self, name: str, *, value: float) -> None: ...


class NoLedger:
    def save(self, record: TrialRecord) -> None: ...
    def save_snapshot(self, records: object) -> None: ...


class Ours:
    """The product's driver with its searcher and stopping rule, its records kept nowhere."""

    def __init__(self, seed: int, *, trials: int, method: str = "bayes", constraint: bool = False) -> None:
        asha = f"early_terminate: {{type: asha, min_iter: {MIN_EPOCHS}, eta: {ETA}}}\n"
        text = TEXT.replace("max_trials: 1000", f"max_trials: {trials}") + f"method: {method}\nseed: {seed}\n" + asha
        text += f"constraints: [num_parameters <= {CONSTRAINT}]\n" if constraint else ""
        document = parse_document(text, name="search.yaml")
        plan = plan_sweep(build_spec(document), document)
        self._driver = Driver(
            spec=plan.spec,
            space=plan.space,
            ledger=NoLedger(),  # type: ignore[arg-type]  # the two methods that a driver calls
            refuse=plan.refuse,
            describe=lambda point: {},
            max_epochs=lambda record: MAX_EPOCHS,
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


def the_space() -> Space:
    document = parse_document(TEXT, name="search.yaml")
    return plan_sweep(build_spec(document), document).space


def draw(space: Space, trial: optuna.Trial) -> Point:
    def suggest(dimension: Dimension) -> Any:
        if dimension.choices is not None:
            return trial.suggest_categorical(dimension.name, dimension.choices)
        return trial.suggest_int(dimension.name, int(dimension.low), int(dimension.high), step=int(dimension.step))

    return space.draw(suggest)


class OptunaAlone:
    """Ask and tell with a sampler and a pruner of Optuna's own."""

    def __init__(self, seed: int, *, pruner: optuna.pruners.BasePruner, trials: int) -> None:
        sampler = optuna.samplers.TPESampler(seed=seed)
        self._study = optuna.create_study(direction="maximize", sampler=sampler, pruner=pruner)
        self._space, self._left, self._open = the_space(), trials, dict[str, optuna.Trial]()

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

    def __init__(self, seed: int, *, trials: int) -> None:
        from ray.tune.schedulers import ASHAScheduler
        from ray.tune.search.optuna import OptunaSearch

        space = the_space()
        np.random.seed(seed)  # the scheduler draws brackets from it
        sampler = optuna.samplers.TPESampler(seed=seed)
        self._search: Any = OptunaSearch(
            partial(self._define, space), metric="val_psnr_db", mode="max", sampler=sampler
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
    """What was spent until the goal, or in all; `infeasible` counts trials outside the constraint."""

    reached: bool
    trials: int
    epochs: int
    infeasible: int
    best: float


def run(search: Search, curves: dict[str, Any], *, goal: float, feasible: Callable[[int], bool]) -> Outcome:
    """Step the trials in turn until one has reached `goal`, or the search has no more."""
    active: list[tuple[str, list[float], bool, int]] = []
    trials = epochs = infeasible = 0
    best = 0.0
    while True:
        while len(active) < SLOTS and (asked := search.ask()) is not None:
            name, point = asked
            entry = curves[key_of(point)]
            inside = feasible(entry["num_parameters"])
            trials, infeasible = trials + 1, infeasible + (not inside)
            active.append((name, entry["val_psnr_db"], inside, 0))
        if not active:
            return Outcome(False, trials, epochs, infeasible, best)
        name, curve, inside, epoch = active.pop(0)
        epoch, epochs = epoch + 1, epochs + 1
        value = curve[epoch - 1]
        best = max(best, value) if inside else best
        if best >= goal:
            return Outcome(True, trials, epochs, infeasible, best)
        if search.report(name, epoch=epoch, value=value):
            continue
        if epoch == MAX_EPOCHS:
            search.finish(name, value=max(curve))
        else:
            active.append((name, curve, inside, epoch))


def spread(values: list[int]) -> str:
    return f"{statistics.fmean(values):7.1f} ± {statistics.stdev(values) if len(values) > 1 else 0:6.1f}"


def compare(contenders: dict[str, Callable[[int], Search]], curves: Any, *, seeds: int, limit: int | None) -> None:
    """Print one table."""

    def feasible(num_parameters: int) -> bool:
        return limit is None or num_parameters <= limit

    known = max(max(c["val_psnr_db"]) for c in curves.values() if feasible(c["num_parameters"]))
    good = sum(max(c["val_psnr_db"]) >= SHARE * known for c in curves.values() if feasible(c["num_parameters"]))
    within = f" with at most {limit:,} parameters" if limit else ""
    print(f"\n{len(curves)} networks{within}; best {known:.2f} dB, {good} within 1 % of it; {seeds} seeds")
    print(f"{'search':<44} {'reached':>8} {'trials':>17} {'epochs':>17} {'infeasible trials':>18}")
    for name, build in contenders.items():
        outcomes = [run(build(seed), curves, goal=SHARE * known, feasible=feasible) for seed in range(seeds)]
        reached = f"{sum(o.reached for o in outcomes)}/{seeds}"
        trials, epochs = spread([o.trials for o in outcomes]), spread([o.epochs for o in outcomes])
        print(f"{name:<44} {reached:>8} {trials:>17} {epochs:>17} {sum(o.infeasible for o in outcomes):>18}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=12)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--quick", action="store_true", help="2 seeds, 60 trials")
    arguments = parser.parse_args()
    seeds, trials = (2, 60) if arguments.quick else (arguments.seeds, arguments.trials)
    warnings.simplefilter("ignore")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    logging.disable(logging.INFO)
    curves = json.loads(CURVES.read_text())
    halving = optuna.pruners.SuccessiveHalvingPruner(min_resource=MIN_EPOCHS, reduction_factor=ETA)
    others: dict[str, Callable[[int], Search]] = {
        "Ray: OptunaSearch, ASHAScheduler": partial(RaySearch, trials=trials),
        "Optuna: TPE, MedianPruner": partial(OptunaAlone, pruner=optuna.pruners.MedianPruner(), trials=trials),
        "Optuna: TPE, SuccessiveHalvingPruner": partial(OptunaAlone, pruner=halving, trials=trials),
    }
    free: dict[str, Callable[[int], Search]] = {
        "ours: TPE told of stopped trials, ASHA": partial(Ours, trials=trials),
        "ours: random, ASHA": partial(Ours, trials=trials, method="random"),
    }
    bound: dict[str, Callable[[int], Search]] = {
        "ours: constraint before the trial": partial(Ours, trials=trials, constraint=True),
        "ours: random, constraint before the trial": partial(Ours, trials=trials, method="random", constraint=True),
    }
    compare({**free, **others}, curves, seeds=seeds, limit=None)
    compare({**bound, **others}, curves, seeds=seeds, limit=CONSTRAINT)


if __name__ == "__main__":
    main()
