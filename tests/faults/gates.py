"""Gates: a trial that has to be under way is held at the end of an epoch until its test lets it go."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any


class Gate:
    """Holds trials before they report an epoch; one that is told to leave, or whose sweep is stopping, is let go.

    Its folder holds a file for each attempt that came to it and for each trial that may pass, so that it works for
    every process that sees the folder.

    Args:
        trial: The one to hold; "*" means all.
        epoch: At whose end; None means every one.
        attempts: Of the trial; None means all of them.
        firm: Holds whatever comes.
    """

    def __init__(
        self,
        folder: Path,
        *,
        epoch: int | None = 3,
        trial: str = "*",
        attempts: Sequence[int] | None = None,
        firm: bool = False,
    ) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="gate-", dir=folder))
        self._folder.chmod(0o755)
        self.fault: dict[str, Any] = {"trial": trial, "do": "hold", "gate": str(self._folder), "firm": firm}
        self.fault |= {"epoch": epoch} if epoch is not None else {}
        self.fault |= {"attempts": list(attempts)} if attempts is not None else {}

    def held(self) -> dict[str, int]:
        """Trials that have come to it -> the process of the latest attempt's first worker."""
        arrivals = sorted(self._folder.glob("held-*-000"))
        return {path.name.split("-")[1]: int(path.read_text()) for path in arrivals}

    def open(self, trial: str = "*") -> None:
        """Let the trial pass, now and whenever it comes again."""
        (self._folder / f"open-{trial}").touch()
