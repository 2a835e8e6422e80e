"""Ridge regression with an honest deviation: what a curve still changes by, learned from curves that ended."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float

RIDGE = 0.3


def learned_change(
    known: Float[np.ndarray, "n d"], changes: Float[np.ndarray, " n"], asked: Float[np.ndarray, "m d"]
) -> tuple[Float[np.ndarray, " m"], float]:
    """Expected changes at `asked`, given `changes` at `known`, and the standard deviation of what is not explained.

    Columns and changes are to be scaled to about 1, since the penalty is the same for all of them.
    """
    centre, mean = known.mean(0), float(changes.mean())
    rows = known - centre
    gram = rows.T @ rows
    inverse = np.linalg.inv(gram + RIDGE * np.eye(gram.shape[1]))
    slope = inverse @ (rows.T @ (changes - mean))
    left = changes - mean - rows @ slope
    freedom = max(len(changes) - 1 - float(np.trace(inverse @ gram)), 1.0)
    return mean + (asked - centre) @ slope, math.sqrt(float(left @ left) / freedom)
