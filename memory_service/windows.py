"""Sums over the turns around each turn of a session, in one pass over all sessions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int32]


class Windows:
    """Which rows stand around each. Rows at which a session or its turns begin and end bound them."""

    def __init__(self, linked: NDArray[np.bool_]) -> None:
        """linked: (N - 1,) whether row i + 1 follows row i in its session."""
        self.num_rows = len(linked) + 1
        breaks = np.flatnonzero(~linked)
        begins, ends = np.concatenate([[0], breaks + 1]), np.concatenate([breaks, [self.num_rows - 1]])
        run = np.cumsum(np.concatenate([[0], ~linked]))
        self._rows = np.arange(self.num_rows, dtype=np.int32)
        self._first, self._last = begins[run].astype(np.int32), ends[run].astype(np.int32)

    def bounds(self, before: int, after: int) -> tuple[Rows, Rows]:
        """(N,), (N,): rows [low, high) of up to `before` rows before each, itself, and up to `after` rows after it."""
        return np.maximum(self._rows - before, self._first), np.minimum(self._rows + after, self._last) + 1

    @property
    def num_bytes(self) -> int:
        return sum(array.nbytes for array in (self._first, self._last, self._rows))


class Totals:
    """Running totals of some values, of which the sum over any window is one subtraction.

    values: (N,) or (N, T); sums have their shape and type. Counts below 2**24 are exact in float32.
    """

    def __init__(self, values: NDArray[Any], windows: Windows) -> None:
        self.windows = windows
        self._totals = np.zeros((len(values) + 1, *values.shape[1:]), values.dtype)
        np.cumsum(values, axis=0, out=self._totals[1:])

    def sum(self, before: int, after: int) -> NDArray[Any]:
        low, high = self.windows.bounds(before, after)
        found = self._totals.take(high, axis=0)
        found -= self._totals.take(low, axis=0)
        return found
