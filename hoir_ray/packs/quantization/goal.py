"""Goal of a stored form: a size, a quality, a number of bits, or the usual trade between size and quality."""

from __future__ import annotations

import math
from dataclasses import dataclass

from hoir_ray.errors import RequestError

MIN_BITS, MAX_BITS = 2.0, 24.0


@dataclass(frozen=True, kw_only=True)
class Goal:
    """Goal with at most one of the three limits; none for the usual trade between bytes and error.

    Attributes:
        max_bytes: Largest size of the file.
        min_psnr_db: Lowest PSNR on the validation data.
        bits: Of each weight before the entropy code.
        trade: How much a percent of the bytes is worth, in percent of the error; where the search begins.

    Raises:
        RequestError: If more than one is given, or one is out of its range.
    """

    max_bytes: int | None = None
    min_psnr_db: float | None = None
    bits: float | None = None
    trade: float = 1.0

    def __post_init__(self) -> None:
        given = {"--max-bytes": self.max_bytes, "--min-psnr-db": self.min_psnr_db, "--bits": self.bits}
        names = [name for name, value in given.items() if value is not None]
        if len(names) > 1:
            raise RequestError(f"{' and '.join(names)}: give one of them")
        if self.bits is not None and not MIN_BITS <= self.bits <= MAX_BITS:
            raise RequestError(f"--bits: must be from {MIN_BITS:g} to {MAX_BITS:g}, got {self.bits:g}")
        if self.max_bytes is not None and self.max_bytes < 1:
            raise RequestError(f"--max-bytes: must be at least 1, got {self.max_bytes}")
        if self.min_psnr_db is not None and not math.isfinite(self.min_psnr_db):
            raise RequestError(f"--min-psnr-db: must be a number, got {self.min_psnr_db}")

    @property
    def is_usual(self) -> bool:
        return self.max_bytes is None and self.min_psnr_db is None and self.bits is None

    def __str__(self) -> str:
        if self.max_bytes is not None:
            return f"--max-bytes {self.max_bytes}"
        if self.min_psnr_db is not None:
            return f"--min-psnr-db {self.min_psnr_db:g}"
        return "the usual trade" if self.bits is None else f"--bits {self.bits:g}"

    def is_met(self, *, size_bytes: int, psnr_db: float) -> bool:
        return self.distance(size_bytes=size_bytes, psnr_db=psnr_db) <= 0

    def leaves_room(self, *, size_bytes: int, psnr_db: float) -> bool:
        """Return whether coarser steps lead towards the goal: the file is too large, or better than it need be."""
        met = self.is_met(size_bytes=size_bytes, psnr_db=psnr_db)
        return met if self.min_psnr_db is not None else not met

    def distance(self, *, size_bytes: int, psnr_db: float) -> float:
        """Measure the distance from the goal, in its own unit; 0 or less where it is met."""
        if self.max_bytes is not None:
            return size_bytes - self.max_bytes
        return self.min_psnr_db - psnr_db if self.min_psnr_db is not None else 0

    def rank(self, *, size_bytes: int, psnr_db: float) -> tuple[float, float]:
        """Sort key of forms that meet the goal: the smallest first, or where the size is given, the best."""
        return (-psnr_db, size_bytes) if self.max_bytes is not None else (size_bytes, -psnr_db)
