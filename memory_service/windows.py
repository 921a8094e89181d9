"""Sums over the turns around each turn of a session, in one pass over all sessions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


class Windows:
    """Sums over the turns around each document. Rows at which a session or its turns begin and end bound them."""

    def __init__(self, linked: NDArray[np.bool_]) -> None:
        """linked: (N - 1,) whether row i + 1 follows row i in its session."""
        self.num_rows = len(linked) + 1
        rows = np.arange(self.num_rows)
        breaks = np.flatnonzero(~linked)
        begins, ends = np.concatenate([[0], breaks + 1]), np.concatenate([breaks, [self.num_rows - 1]])
        run = np.cumsum(np.concatenate([[0], ~linked]))
        self._first, self._last, self._rows = begins[run], ends[run], rows

    def sum(self, values: NDArray[Any], before: int, after: int) -> NDArray[Any]:
        """values: (..., N). The sum over up to `before` rows before each and `after` rows after it, and itself."""
        low = np.maximum(self._rows - before, self._first)
        high = np.minimum(self._rows + after, self._last) + 1
        totals = np.zeros((*values.shape[:-1], self.num_rows + 1), values.dtype)
        np.cumsum(values, axis=-1, out=totals[..., 1:])
        return np.asarray(totals[..., high] - totals[..., low])

    @property
    def num_bytes(self) -> int:
        return sum(array.nbytes for array in (self._first, self._last, self._rows))
