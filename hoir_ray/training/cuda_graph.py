"""One optimizer step as a CUDA graph: small networks on a GPU spend their time on starting kernels."""

from __future__ import annotations

import logging
from collections.abc import Callable

import torch
from torch import Tensor

Step = Callable[[Tensor, float], Tensor]
_WARM_UP_STEPS = 3
_log = logging.getLogger(__name__)


class CapturedStep:
    """Replays `step` for batches of the first one's shape; runs it as it is for others, and where capture fails.

    The steps before the capture train like any other: they let the optimizer make its state and the allocator settle,
    on a side stream, as torch asks for. Sample numbers go in through one fixed tensor, the loss comes out of another.

    Source: "Whole-network capture" in torch's notes on CUDA semantics.
    """

    def __init__(self, step: Step) -> None:
        self._step = step
        self._calls = 0
        self._failed = False
        self._graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, rows: Tensor, share: float) -> Tensor:
        if self._calls == 0:
            self._rows = rows.clone()
        if self._failed or share != 1.0 or rows.shape != self._rows.shape:
            return self._step(rows, share)
        self._calls += 1
        if self._calls <= _WARM_UP_STEPS:
            return self._on_side_stream(rows, share)
        if self._graph is None:
            self._capture()
            if self._graph is None:
                return self._step(rows, share)
        self._rows.copy_(rows)
        self._graph.replay()
        return self._loss

    def _on_side_stream(self, rows: Tensor, share: float) -> Tensor:
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            loss = self._step(rows, share)
        torch.cuda.current_stream().wait_stream(stream)
        return loss

    def _capture(self) -> None:
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph):
                self._loss = self._step(self._rows, 1.0)
        except RuntimeError as error:  # a network or optimizer that waits for the device cannot be captured
            self._failed = True
            _log.info("steps run without a CUDA graph: %s", str(error).splitlines()[0])
            return
        self._graph = graph
