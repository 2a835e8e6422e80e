from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.loggers import Logger
from torch import Tensor

from hoir_ray.errors import DivergedError, PackError, SpecError, WorkError
from hoir_ray.training.loop import Epoch, Fit, Hooks, Measured, train
from tests.training.curve import Surface, score, surface_config, surface_data, surface_network

TIMES = {"train_time_s", "samples_per_s"}


def run(config: Any = None, *, seed: int = 0, **options: Any) -> tuple[Fit, list[Epoch]]:
    """Train the surface; the curve is what `on_epoch` was told."""
    curve: list[Epoch] = []
    options.setdefault("on_epoch", curve.append)
    options.setdefault("score", score)
    measured = Measured(**{f.name: options.pop(f.name) for f in fields(Measured) if f.name in options})
    fit = train(surface_network(seed), surface_data(), config or surface_config(), measured, Hooks(**options))
    return fit, curve


def without_times(curve: list[Epoch]) -> list[dict[str, float]]:
    return [{k: v for k, v in e.metrics.items() if k not in TIMES} for e in curve]


def same(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_it_learns_and_reports_every_epoch() -> None:
    fit, curve = run()
    assert [e.epoch for e in curve] == [1, 2, 3, 4]
    assert curve[-1].metrics["val_loss"] < 0.05  # the targets' own mean square is 0.35
    num = curve[0].metrics["num_parameters"]
    assert num == sum(p.numel() for p in surface_network().parameters())
    assert curve[0].metrics["bits_per_pixel"] == 32 * num / 500
    times = [e.metrics["train_time_s"] for e in curve]
    assert times == sorted(times)
    assert fit.epochs == 4
    assert not fit.stopped_early
    assert fit.metrics == curve[-1].metrics


def test_same_seed_same_numbers_other_seed_others() -> None:
    (a, curve_a), (b, curve_b) = run(), run()
    assert without_times(curve_a) == without_times(curve_b)
    assert same(a.state, b.state)
    other, _ = run(surface_config(seed=1))
    assert not same(a.state, other.state)


def test_it_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    run()
    assert torch.equal(torch.rand(1), expected)


def test_best_is_the_best_epoch_and_not_the_last() -> None:
    values = iter([1.0, 5.0, 3.0, 2.0])
    states = []
    network = surface_network()

    def on_epoch(epoch: Epoch) -> None:
        states.append({k: v.clone() for k, v in network.state_dict().items()})

    fit = train(
        network,
        surface_data(),
        surface_config(),
        Measured(score=lambda *_: {"val_loss": 1.0, "odd": next(values)}),
        Hooks(metric="odd", on_epoch=on_epoch),
    )
    assert (fit.best_epoch, fit.best_metrics["odd"], fit.metrics["odd"]) == (2, 5.0, 2.0)
    assert same(fit.state, states[1])
    assert same(network.state_dict(), states[1])


def test_minimize_prefers_the_lowest() -> None:
    values = iter([1.0, 5.0, 0.5, 2.0])
    fit, _ = run(score=lambda *_: {"odd": next(values)}, metric="odd", goal="minimize")
    assert fit.best_epoch == 3


def test_validation_is_spaced_out_and_never_leaves_out_the_last() -> None:
    _, curve = run(surface_config(max_epochs=5, val_every_epochs=2))
    assert [e.epoch for e in curve] == [2, 4, 5]


class LostWorkerError(Exception):
    """A worker lost between two epochs."""


@pytest.mark.parametrize("stop_after", [1, 3])
@pytest.mark.parametrize(
    "changes",
    [
        {"optimizer": {"name": "adam", "lr": 1e-2}},
        {"optimizer": {"name": "adamw", "lr": 1e-2}, "scheduler": {"name": "plateau", "patience": 0, "factor": 0.5}},
        {"optimizer": {"name": "lion"}, "scheduler": {"name": "exponential"}},
        {"optimizer": {"name": "sparse_lion"}, "precision": "64"},
        {"optimizer": {"name": "adam"}, "precision": "bf16", "early_stopping": {"patience": 3}},
    ],
    ids=["adam", "adamw", "lion", "sparse_lion", "bf16"],
)
def test_resumed_training_gives_the_numbers_of_an_uninterrupted_one(
    changes: dict[str, Any], stop_after: int, tmp_path: Path
) -> None:
    config = surface_config(**changes)
    whole, curve = run(config)
    path = tmp_path / "last.ckpt"
    parts: list[Epoch] = []

    def crash(written: Path, epoch: int) -> None:
        if epoch == stop_after:
            raise LostWorkerError

    with pytest.raises(LostWorkerError):
        run(config, checkpoint=path, checkpoint_every_s=0, on_checkpoint=crash, on_epoch=parts.append)
    resumed, rest = run(config, checkpoint=path, checkpoint_every_s=0)
    assert without_times(parts + rest) == without_times(curve)
    assert [e.is_best for e in parts + rest] == [e.is_best for e in curve]
    assert same(resumed.state, whole.state)
    assert (resumed.epochs, resumed.best_epoch) == (whole.epochs, whole.best_epoch)


def test_adahessian_resumes_exactly(tmp_path: Path) -> None:
    config = surface_config(optimizer={"name": "adahessian"}, max_epochs=2)
    whole, _ = run(config)

    def crash(written: Path, epoch: int) -> None:
        raise LostWorkerError

    with pytest.raises(LostWorkerError):
        run(config, checkpoint=tmp_path / "c", checkpoint_every_s=0, on_checkpoint=crash)
    resumed, _ = run(config, checkpoint=tmp_path / "c")
    assert same(resumed.state, whole.state)


def test_a_finished_checkpoint_gives_its_result_without_training(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    first, _ = run(checkpoint=path)
    again, curve = run(checkpoint=path)
    assert curve == []
    assert same(again.state, first.state)
    assert again.best_metrics == first.best_metrics


def test_more_epochs_go_on_from_a_finished_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    run(checkpoint=path)
    fit, curve = run(surface_config(max_epochs=6), checkpoint=path)
    assert [e.epoch for e in curve] == [5, 6]
    assert fit.epochs == 6


def test_a_smaller_batch_goes_on_from_the_checkpoint_of_a_larger_one(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    run(surface_config(max_epochs=2), checkpoint=path)
    fit, _ = run(surface_config(batch_size=32), checkpoint=path)
    assert fit.epochs == 4


def test_checkpoints_keep_their_distance_in_time_and_leave_no_parts(tmp_path: Path) -> None:
    written: list[int] = []
    path = tmp_path / "last.ckpt"
    run(checkpoint=path, checkpoint_every_s=3600, on_checkpoint=lambda p, epoch: written.append(epoch))
    assert written == [4]
    assert [p.name for p in tmp_path.iterdir()] == ["last.ckpt"]


def test_a_checkpoint_may_be_moved_away(tmp_path: Path) -> None:
    moved: list[Path] = []

    def move(path: Path, epoch: int) -> None:
        moved.append(path.replace(tmp_path / f"{epoch}.ckpt"))

    run(checkpoint=tmp_path / "last.ckpt", checkpoint_every_s=0, on_checkpoint=move)
    assert len(moved) == 4


def test_a_checkpoint_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WorkError, match="checkpoint could not be written"):
        run(checkpoint=tmp_path / "file" / "last.ckpt")


def test_early_stopping_ends_training_and_stays_ended(tmp_path: Path) -> None:
    values = iter([1.0, 0.5, 0.6, 0.7, 0.1])
    config = surface_config(max_epochs=50, early_stopping={"metric": "odd", "patience": 2})
    options: dict[str, Any] = {"metric": "odd", "goal": "minimize", "checkpoint": tmp_path / "c"}
    fit, _ = run(config, score=lambda *_: {"odd": next(values)}, **options)
    assert (fit.epochs, fit.best_epoch, fit.stopped_early) == (4, 2, True)
    again, curve = run(config, **options)
    assert curve == []
    assert again.stopped_early


@pytest.mark.parametrize("where", ["metric", "early_stopping"])
def test_an_unknown_metric_is_named_with_the_known_ones(where: str) -> None:
    config = surface_config(early_stopping={"metric": "val_lost"} if where == "early_stopping" else None)
    with pytest.raises(SpecError, match=r"'val_lost'.*Did you mean 'val_loss'.*val_psnr_db"):
        run(config, metric="val_lost" if where == "metric" else "val_psnr_db")


def test_a_diverging_loss_ends_training_and_is_named() -> None:
    data = surface_data()
    assert isinstance(data.train, Surface)
    data.train.y[7] = float("inf")
    with pytest.raises(DivergedError, match=r"train_loss became (nan|inf) in epoch 1"):
        train(surface_network(), data, surface_config(), Measured(score=score))


def test_a_metric_that_is_not_a_number_ends_training() -> None:
    with pytest.raises(DivergedError, match="val_psnr_db became nan in epoch 1"):
        run(score=lambda *_: {"val_psnr_db": float("nan")})


def test_a_stop_from_outside_leaves_nothing_running() -> None:
    before = threading.active_count()

    def stop(epoch: Epoch) -> None:
        raise SystemExit(0)

    with pytest.raises(SystemExit):
        run(on_epoch=stop)
    assert threading.active_count() == before
    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()


def test_ctrl_c_stays_ctrl_c() -> None:
    before = signal.getsignal(signal.SIGINT)

    def interrupt(epoch: Epoch) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(on_epoch=interrupt)
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not an archive", b"<html>404</html>"])
def test_a_file_that_is_no_checkpoint_is_named(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    path.write_bytes(content)
    with pytest.raises(PackError, match=r"last\.ckpt"):
        run(checkpoint=path)


@pytest.mark.parametrize("damage", ["truncated", "flipped"])
def test_a_damaged_checkpoint_is_noticed(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    run(checkpoint=path)
    content = bytearray(path.read_bytes())
    if damage == "truncated":
        content = content[: len(content) // 2]
    else:
        content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(PackError, match=r"last\.ckpt"):
        run(checkpoint=path)


def test_a_checkpoint_never_runs_what_is_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    path, trace = tmp_path / "last.ckpt", tmp_path / "trace"
    torch.save({"evil": _Evil(trace)}, path)
    with pytest.raises(PackError):
        run(checkpoint=path)
    assert not trace.exists()


class _Evil:
    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> Any:
        return Path.touch, (self.trace,)


def test_a_checkpoint_of_another_network_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    run(checkpoint=path)
    with pytest.raises(PackError, match="another network"):
        train(torch.nn.Linear(2, 2), surface_data(), surface_config(), Measured(score=score), Hooks(checkpoint=path))


def test_an_address_is_refused() -> None:
    with pytest.raises(PackError, match="local file"):
        run(checkpoint=Path("http://127.0.0.1/last.ckpt"))


def test_nothing_is_said(capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run()
    assert capfd.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []


class Watcher:
    """A tracker that remembers what it was told, and fails where it is asked to."""

    def __init__(self, *, fails: bool = False) -> None:
        self.fails, self.scalars, self.images, self.closed = fails, [], [], False  # type: ignore[var-annotated]

    @property
    def logger(self) -> Logger:
        if self.fails:
            raise ConnectionError("nobody there")
        return self  # type: ignore[return-value]

    def log_hyperparams(self, params: Any) -> None:
        self.hyperparameters = params

    def log_metrics(self, metrics: dict[str, float], step: int) -> None:
        self.scalars.append((step, metrics))

    def log_images(self, images: Mapping[str, Tensor], *, step: int) -> None:
        self.images.append((step, dict(images)))

    def close(self) -> None:
        self.closed = True


def test_trackers_are_told_and_a_failing_one_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    good, bad = Watcher(), Watcher(fails=True)
    config = surface_config(max_epochs=30)
    with caplog.at_level(logging.WARNING):
        fit, _ = run(
            config,
            trackers=[bad, good],
            pictures=lambda network, data: {"preview": torch.zeros(2, 2, 3)},
            hyperparameters={"a": 1},
        )
    plain, _ = run(config)
    assert same(fit.state, plain.state)
    assert [step for step, _ in good.scalars] == list(range(1, 31))
    assert [step for step, _ in good.images] == [1, *range(3, 31, 3)]
    assert good.hyperparameters == {"a": 1}
    assert good.closed
    assert len([r for r in caplog.records if "Watcher failed" in r.message]) == 1


def test_trackers_are_closed_when_training_is_stopped() -> None:
    watcher = Watcher()

    def stop(epoch: Epoch) -> None:
        raise SystemExit(0)

    with pytest.raises(SystemExit):
        run(trackers=[watcher], on_epoch=stop)
    assert watcher.closed


def test_all_precisions_agree_roughly() -> None:
    losses = {p: run(surface_config(precision=p))[0].best_metrics["val_loss"] for p in ("32", "64", "bf16")}
    assert losses["64"] == pytest.approx(losses["32"], rel=1e-2)
    assert losses["bf16"] == pytest.approx(losses["32"], rel=0.5)


def test_float64_training_leaves_float32_weights() -> None:
    network = surface_network()
    fit = train(network, surface_data(), surface_config(precision="64"), Measured(score=score))
    assert {t.dtype for t in fit.state.values()} == {torch.float32}
    assert {p.dtype for p in network.parameters()} == {torch.float32}


def test_training_works_in_a_thread_that_is_not_the_main_one() -> None:
    found: list[Fit] = []
    thread = threading.Thread(target=lambda: found.append(run()[0]))
    thread.start()
    thread.join(timeout=60)
    assert found[0].epochs == 4


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sparse_lion", "lion"])
def test_a_captured_step_gives_the_numbers_of_an_eager_one(optimizer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    config = surface_config(optimizer={"name": optimizer, "lr": 1e-3})
    captured, _ = run(config)
    monkeypatch.setattr("hoir_ray.training.module.RegressionModule._captures", False)
    eager, _ = run(config)
    for name, weights in eager.state.items():
        torch.testing.assert_close(captured.state[name], weights, rtol=1e-4, atol=1e-5)
