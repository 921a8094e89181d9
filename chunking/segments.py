"""The best way to cut a row of pieces, by dynamic programming, and the quick way from left to right.

Sizes are in tokens of the pieces; a piece that is larger than the maximum stands alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]


def best_cuts(counts: Sequence[int], gains: Scores, *, min_tokens: int, max_tokens: int) -> list[int]:
    """The cuts whose gains sum to the most: edges from 0 to N, both included.

    counts: (N,) tokens of each piece. gains: (N - 1,), of a cut behind piece i; below zero it is only made where
    max_tokens demands it. No segment of several pieces exceeds max_tokens. As few as can be stay under min_tokens;
    that comes before the gains. O(N): both windows of earlier edges slide.
    """
    num = len(counts)
    if num == 0:
        return [0]
    places = np.concatenate([[0], np.cumsum(counts)]).tolist()
    gain = [0.0, *np.asarray(gains, dtype=np.float64).tolist(), 0.0]
    best: list[tuple[int, float]] = [(0, 0.0)]  # by edge: minus the segments that are too small, the sum of gains
    came_from = [0] * (num + 1)
    large: deque[int] = deque()  # edges from which a segment to here is large enough, best first
    small: deque[int] = deque()  # and those from which it is too small
    waiting = 0  # the first edge that is not large enough yet
    for edge in range(1, num + 1):
        _push(small, edge - 1, best)
        while waiting < edge and places[edge] - places[waiting] >= min_tokens:
            _push(large, waiting, best)
            waiting += 1
        for window in (large, small):
            while window and window[0] < edge - 1 and places[edge] - places[window[0]] > max_tokens:
                window.popleft()
        while small and small[0] < waiting:
            small.popleft()
        options = [(best[large[0]], large[0])] if large else []
        if small:
            short, value = best[small[0]]
            options.append(((short - 1, value), small[0]))
        (short, value), came_from[edge] = max(options)
        best.append((short, value + gain[edge]))
    return _edges(came_from, num)


def _push(window: deque[int], edge: int, best: Sequence[tuple[int, float]]) -> None:
    """Edges that are older and worse can never be chosen again; of equals the older is, for longer segments."""
    while window and best[window[-1]] < best[edge]:
        window.pop()
    window.append(edge)


def best_segments(values: Scores, *, min_pieces: int = 1) -> list[int]:
    """The segmentation whose values sum to the most: edges from 0 to N, both included.

    values: (N, L); values[i, l] is that of the pieces i to i + l, both included; -inf where it is not allowed. Segments
    of fewer than min_pieces are only made where nothing else fills the row. Raises ValueError where nothing does.
    Ties go to the longer segment. O(N L).
    """
    num, longest = values.shape
    allowed = values.copy()
    penalty = _penalty(values)
    if min_pieces > 1:
        allowed[:, : min_pieces - 1] -= penalty
    best = np.full(num + 1, -np.inf)
    best[0] = 0.0
    came_from = [0] * (num + 1)
    for edge in range(1, num + 1):
        first = max(0, edge - longest)
        begins = np.arange(first, edge)
        sums = best[begins] + allowed[begins, edge - 1 - begins]
        choice = int(np.argmax(sums))
        best[edge], came_from[edge] = sums[choice], first + choice
    if not np.isfinite(best[num]):
        raise ValueError(f"no segmentation of {num} pieces is allowed")
    return _edges(came_from, num)


def _penalty(values: Scores) -> float:
    """More than all that values could make up for."""
    finite = values[np.isfinite(values)]
    return 1.0 + 2.0 * float(np.abs(finite).max(initial=0.0)) * (len(values) + 1)


def _edges(came_from: Sequence[int], num: int) -> list[int]:
    edges = [num]
    while edges[-1] > 0:
        edges.append(came_from[edges[-1]])
    return edges[::-1]


def greedy_cuts(counts: Sequence[int], wanted: Sequence[bool], *, min_tokens: int, max_tokens: int) -> list[int]:
    """Cuts where one is wanted, once min_tokens are held, and wherever the next piece would not fit: edges, as above.

    wanted: (N - 1,), behind each piece. A last segment under min_tokens joins the one before it where both fit.
    """
    if not counts:
        return [0]
    edges, sizes = [0], [counts[0]]
    for place, count in enumerate(counts[1:], 1):
        if sizes[-1] + count > max_tokens or (wanted[place - 1] and sizes[-1] >= min_tokens):
            edges.append(place)
            sizes.append(count)
        else:
            sizes[-1] += count
    if len(sizes) > 1 and sizes[-1] < min_tokens and sizes[-1] + sizes[-2] <= max_tokens:
        edges.pop()
    return [*edges, len(counts)]
