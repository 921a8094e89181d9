"""Which of the ranked candidates to return, under a count or a budget of tokens: pure functions over arrays.

Scores are the candidates' relevance, higher is better; N candidates stand in the order of their rank. Everything is
deterministic; what draws at random takes a seed. Nothing here reads a database or a model.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

MIN_K, DROP = 7, 0.3  # SAGE, arXiv:2503.01713, as its replication has them
MMR_LAMBDA = 0.7  # weight of relevance; Carbonell and Goldstein, SIGIR 1998, leave it open
SESSION_DISCOUNT = 0.1  # docs/selection.md has what others came to
UCB_EXPLORATION = 2.0  # the best of CARROT's own search, which tried 2 to 4
COST_WEIGHT = 0.1
ITERATIONS = 12  # most of what 30 find; docs/selection.md
ROLLOUT_SKIP = 0.2  # chance that a completion leaves out a candidate that would fit
SHARPNESS = 4.0  # of relevance. With 1, many short poor texts outweigh a long good one; docs/selection.md
COVERAGE_SHARE = 0.1  # of a set's reward, for the words of the question
REDUNDANCY_LOSS = 0.2  # share of its relevance that an exact repetition loses

Scores = NDArray[np.float64]
Sets = NDArray[np.bool_]  # (S, N): one row a set, true where the candidate is in it
Reward = Callable[[Sets], Scores]  # (S, N) -> (S,), each from 0 to 1


def gradient_cut(scores: Sequence[float] | Scores, min_k: int = MIN_K, drop: float = DROP) -> int:
    """How many of the first to keep: up to the first sharp fall, and at least min_k of them.

    Keeps the first min_k, then goes on while a score is at least (1 - drop) times the one before it. Scores outside
    0..1 are taken for logits, and all pass through the logistic function first: a ratio of negative numbers says
    nothing. Raises ValueError unless min_k >= 1 and 0 < drop < 1. Source: SAGE, arXiv:2503.01713.
    """
    if min_k < 1:
        raise ValueError(f"min_k={min_k} must be at least 1")
    if not 0 < drop < 1:
        raise ValueError(f"drop={drop} must be between 0 and 1")
    values = np.asarray(scores, np.float64)
    if len(values) and (values.min() < 0 or values.max() > 1):
        values = squash(values)
    fallen = np.flatnonzero(values[min_k:] < (1 - drop) * values[min_k - 1 : -1])
    return min_k + int(fallen[0]) if len(fallen) else len(values)


def squash(logits: Scores) -> Scores:
    """The logistic function, without overflow."""
    return 0.5 * (1 + np.tanh(0.5 * np.asarray(logits, np.float64)))


@dataclass(frozen=True, slots=True)
class Ordered:
    """order: indices, best first. scores: (len(order),) what each was chosen by, when it was chosen."""

    order: list[int]
    scores: list[float]


def mmr(
    scores: Sequence[float] | Scores, vectors: NDArray[Any], trade_off: float = MMR_LAMBDA, *, num: int | None = None
) -> Ordered:
    """Maximal marginal relevance: each next one is relevant, and unlike those before it.

    scores: (N,), on the scale of a cosine. vectors: (N, D), unit length, or zero where there is none: such a one is
    like nothing. trade_off: 1 is relevance alone, 0 is difference alone. Raises ValueError outside that range, or where
    the lengths differ. Source: Carbonell and Goldstein, SIGIR 1998.
    """
    relevance = np.asarray(scores, np.float64)
    if not 0 <= trade_off <= 1:
        raise ValueError(f"lambda={trade_off} must be between 0 and 1")
    if len(vectors) != len(relevance):
        raise ValueError(f"{len(vectors)} vectors for {len(relevance)} scores")
    nearest = np.zeros(len(relevance))  # to what is chosen already
    left = np.ones(len(relevance), np.bool_)
    found = Ordered([], [])
    for _ in range(len(relevance) if num is None else min(num, len(relevance))):
        values = np.where(left, trade_off * relevance - (1 - trade_off) * nearest, -np.inf)
        best = int(values.argmax())
        found.order.append(best)
        found.scores.append(float(values[best]))
        left[best] = False
        nearest = np.maximum(nearest, vectors @ vectors[best])
    return found


def diversify(
    scores: Sequence[float] | Scores, sessions: Sequence[Hashable | None], discount: float = SESSION_DISCOUNT
) -> Ordered:
    """Rounds over the sessions: each next one is worth (1 - discount)^n, n being those chosen before of its session.

    The best stays first, so a question that one piece answers loses nothing at the top. None is a session of its own.
    Raises ValueError unless 0 <= discount < 1 and scores are not negative.
    """
    values = np.array(scores, np.float64)
    if not 0 <= discount < 1:
        raise ValueError(f"discount={discount} must be from 0 to below 1")
    if len(values) and values.min() < 0:
        raise ValueError("negative scores cannot be discounted: map them to 0..1 first")
    names: dict[Hashable, int] = {}
    groups = np.array(
        [names.setdefault(("-", i) if s is None else ("s", s), len(names)) for i, s in enumerate(sessions)]
    )
    left = np.ones(len(values), np.bool_)
    found = Ordered([], [])
    for _ in range(len(values)):
        best = int(np.where(left, values, -np.inf).argmax())
        found.order.append(best)
        found.scores.append(float(values[best]))
        left[best] = False
        values[left & (groups == groups[best])] *= 1 - discount
    return found


def greedy_fill(
    scores: Sequence[float] | Scores, tokens: Sequence[int], budget: int, *, max_items: int | None = None
) -> list[int]:
    """Best first, whatever still fits; what does not is passed over. Ties go to the earlier one."""
    chosen: list[int] = []
    for i in np.argsort(-np.asarray(scores, np.float64), kind="stable").tolist():
        if max_items is not None and len(chosen) >= max_items:
            break
        if tokens[i] <= budget:
            chosen.append(i)
            budget -= tokens[i]
    return chosen


@dataclass(slots=True)
class Found:
    """chosen: the best set, in rank order. num_scored: sets that were scored. num_batches: calls of the reward.

    history: the best reward after each iteration, which never falls.
    """

    chosen: list[int]
    reward: float
    num_scored: int = 0
    num_batches: int = 0
    history: list[float] = field(default_factory=list)


class _Ledger:
    """Scores each set once, whatever the order it was put together in; remembers the best within the budget."""

    def __init__(self, reward: Reward, tokens: NDArray[np.int64], budget: int) -> None:
        self.reward, self.tokens, self.budget = reward, tokens, budget
        self.known: dict[bytes, float] = {}
        self.best = np.zeros(len(tokens), np.bool_)
        self.best_key: tuple[float, int] = (-np.inf, 0)
        self.num_batches = 0

    def score(self, sets: Sets) -> Scores:
        keys = [row.tobytes() for row in sets]
        new = {key: i for i, key in enumerate(keys) if key not in self.known}
        if new:
            rows = sets[list(new.values())]
            values = np.asarray(self.reward(rows), np.float64)
            self.num_batches += 1
            if values.shape != (len(rows),) or not ((values >= 0) & (values <= 1)).all():
                raise ValueError("a reward must be one number from 0 to 1 for each set: squash logits first")
            self.known.update(zip(new, values.tolist(), strict=True))
            self._consider(rows, values)
        return np.array([self.known[key] for key in keys])

    def _consider(self, rows: Sets, values: Scores) -> None:
        used = rows @ self.tokens
        assert (used <= self.budget).all()  # nobody proposes a set that does not fit
        first = int(np.lexsort((used, -values))[0])
        key = (float(values[first]), -int(used[first]))
        if key > self.best_key:
            self.best, self.best_key = rows[first], key

    def found(self, history: Iterable[float]) -> Found:
        chosen = np.flatnonzero(self.best).tolist()
        return Found(chosen, max(self.best_key[0], 0.0), len(self.known), self.num_batches, list(history))


def greedy_marginal(reward: Reward, tokens: Sequence[int], budget: int, *, max_items: int | None = None) -> Found:
    """Adds what raises the reward most, until nothing that fits raises it. One batch of the reward a step."""
    costs = np.asarray(tokens, np.int64)
    ledger = _Ledger(reward, costs, budget)
    row = np.zeros(len(costs), np.bool_)
    value = float(ledger.score(row[None])[0])
    history = [value]
    while True:
        addable = _addable(row, costs, budget, max_items)
        if not len(addable):
            break
        sets = _with_each(row, addable)
        values = ledger.score(sets)
        best = int(values.argmax())
        if values[best] <= value:
            break
        row, value = sets[best], float(values[best])
        history.append(value)
    return ledger.found(history)


def _addable(
    row: NDArray[np.bool_], tokens: NDArray[np.int64], budget: int, max_items: int | None
) -> NDArray[np.int64]:
    if max_items is not None and int(row.sum()) >= max_items:
        return np.zeros(0, np.int64)
    return np.flatnonzero(~row & (tokens <= budget - int(tokens[row].sum())))


def _with_each(row: NDArray[np.bool_], added: NDArray[np.int64]) -> Sets:
    sets = np.repeat(row[None], len(added), axis=0)
    sets[np.arange(len(added)), added] = True
    return sets


class _Node:
    """A set in the tree. children: keys, None until it is expanded. closed: all below it is known."""

    __slots__ = ("children", "closed", "row", "tokens", "total", "visits")

    def __init__(self, row: NDArray[np.bool_], tokens: int) -> None:
        self.row, self.tokens = row, tokens
        self.children: list[bytes] | None = None
        self.closed = False
        self.visits, self.total = 0, 0.0


def tree_search(
    reward: Reward,
    scores: Sequence[float] | Scores,
    tokens: Sequence[int],
    budget: int,
    *,
    iterations: int = ITERATIONS,
    exploration: float = UCB_EXPLORATION,
    cost_weight: float = COST_WEIGHT,
    max_items: int | None = None,
    width: int | None = None,
    starts: Sequence[Sequence[int]] = (),
    seed: int = 0,
) -> Found:
    """Monte Carlo tree search over sets of candidates, for the set within the budget whose own reward is highest.

    reward: see Reward; may be anything over sets, also one that falls when a candidate is added. scores: (N,) order the
    candidates, for completions and for `width`. tokens: (N,), the one count used for the cost and for the budget.
    starts: sets to begin with, such as other methods' answers; those that do not fit are left out. width: how many
    candidates, best first, a node may be extended by; None is all.

    A child's value is the better of its own reward and that of one completion of it to the budget, in the order of
    scores with gaps drawn at random: a set of two says little of a budget that forty fit in. An iteration goes down by

        UCB(v) = mean value + exploration * sqrt(ln(visits of the parent) / visits) - cost_weight * tokens / budget

    and expands one node, with one batch of the reward. A set is one state whatever the order of its making. The search
    ends early when everything is known, so a small problem is solved exactly. Equal rewards: fewer tokens win.

    Source: CORAG (CARROT), arXiv:2411.00744, with its defects mended: rewards and costs on one scale, one count of
    tokens, sets in place of sequences.
    """
    costs, prior = np.asarray(tokens, np.int64), np.asarray(scores, np.float64)
    if (costs < 1).any():
        raise ValueError("every candidate must have at least one token")
    if len(costs) != len(prior):
        raise ValueError(f"{len(costs)} token counts for {len(prior)} scores")
    search = _Search(reward, prior, costs, budget, max_items, width, np.random.default_rng(seed))
    search.begin(starts)
    history = []
    for _ in range(iterations):
        path = search.descend(exploration, cost_weight)
        if path is None:
            break
        search.expand(path)
        history.append(search.ledger.best_key[0])
    return search.ledger.found(history)


class _Search:
    def __init__(
        self,
        reward: Reward,
        prior: Scores,
        tokens: NDArray[np.int64],
        budget: int,
        max_items: int | None,
        width: int | None,
        random: np.random.Generator,
    ) -> None:
        self.prior, self.tokens, self.budget = prior, tokens, budget
        self.max_items, self.width, self.random = max_items, width, random
        self.by_prior = np.argsort(-prior, kind="stable")
        self.ledger = _Ledger(reward, tokens, budget)
        self.root = np.zeros(len(tokens), np.bool_)
        self.nodes = {self.root.tobytes(): _Node(self.root, 0)}

    def begin(self, starts: Sequence[Sequence[int]]) -> None:
        filled = greedy_fill(self.prior, self.tokens.tolist(), self.budget, max_items=self.max_items)
        sets = np.zeros((2 + len(starts), len(self.tokens)), np.bool_)  # the first is the empty one
        for row, start in zip(sets[1:], [filled, *starts], strict=True):
            row[list(start)] = True
        fits = sets @ self.tokens <= self.budget
        if self.max_items is not None:
            fits &= sets.sum(axis=1) <= self.max_items
        self.ledger.score(sets[fits])

    def descend(self, exploration: float, cost_weight: float) -> list[_Node] | None:
        """From the root to a node that is not expanded; None when there is none left."""
        node, path = self.nodes[self.root.tobytes()], []
        while not node.closed:
            path.append(node)
            if node.children is None:
                return path
            open_ = [child for key in node.children if not (child := self.nodes[key]).closed]
            if not open_:  # a set has several parents: another path may have closed the last child
                node.closed = True
                if len(path) == 1:
                    return None
                node, path = path[0], []
                continue
            node = self._best(open_, node.visits, exploration, cost_weight)
        return None

    def _best(self, children: list[_Node], visits: int, exploration: float, cost_weight: float) -> _Node:
        n = np.array([child.visits for child in children], np.float64)
        mean = np.array([child.total for child in children]) / n
        cost = np.array([child.tokens for child in children]) / self.budget
        ucb = mean + exploration * np.sqrt(np.log(max(visits, 1)) / n) - cost_weight * cost
        return children[int(ucb.argmax())]

    def expand(self, path: list[_Node]) -> None:
        node = path[-1]
        addable = _addable(node.row, self.tokens, self.budget, self.max_items)
        if self.width is not None and len(addable) > self.width:
            addable = np.sort(self.by_prior[np.isin(self.by_prior, addable)][: self.width])
        sets = _with_each(node.row, addable)
        node.children = [row.tobytes() for row in sets]
        if not len(addable):
            node.closed = True
            return
        both = self.ledger.score(np.concatenate([sets, self._complete(sets)]))
        values = np.maximum(both[: len(sets)], both[len(sets) :])
        room = self.budget - sets @ self.tokens  # (S,)
        full: NDArray[np.bool_] = np.all(sets | (self.tokens > room[:, None]), axis=1)
        if self.max_items is not None:
            full |= sets.sum(axis=1) >= self.max_items
        for key, row, value, is_full in zip(node.children, sets, values.tolist(), full, strict=True):
            child = self.nodes.get(key)
            if child is None:
                child = self.nodes[key] = _Node(row, int(self.tokens[row].sum()))
                child.closed = bool(is_full)
            child.visits += 1
            child.total += value
        for above in path:
            above.visits += len(sets)
            above.total += float(values.sum())

    def _complete(self, sets: Sets) -> Sets:
        """Each filled up by score; the first exactly, the others with gaps."""
        full = sets.copy()
        room = self.budget - full @ self.tokens  # (S,)
        places = np.full(len(sets), len(self.tokens)) if self.max_items is None else self.max_items - full.sum(axis=1)
        wanted = ~full & (self.random.random(full.shape) >= ROLLOUT_SKIP)
        wanted[0] = ~full[0]
        tokens, smallest = self.tokens.tolist(), int(self.tokens.min())
        for i in self.by_prior.tolist():
            adds = wanted[:, i] & (room >= tokens[i]) & (places > 0)
            full[:, i] |= adds
            room -= adds * tokens[i]
            places -= adds
            if not (room >= smallest).any():
                break
        return full


class EvidenceReward:
    """What a set of candidates is worth to a question, without a model; from 0 to 1, and 0 for the empty set.

        r(S) = (1 - c) * sum over S of p_i * (1 - l * max over j in S before i of cos(i, j)) / most
             + c * (weight of the question's words that S holds) / (weight of all that any candidate holds)

    p_i is (score_i / best score) ^ sharpness: what a candidate is worth falls faster than its score. c is
    COVERAGE_SHARE, l is REDUNDANCY_LOSS, `most` is the greatest sum of p_i that fits into the budget (and max_items),
    parts of candidates counted: no set can exceed 1.

    scores: (N,), not negative. vectors: (N, D), unit length or zero. holds: (N, T), whether a candidate has a word.
    weights: (T,), such as the word's idf.
    """

    def __init__(
        self,
        scores: Scores,
        vectors: NDArray[Any],
        holds: NDArray[np.bool_],
        weights: Scores,
        tokens: Sequence[int],
        budget: int,
        *,
        max_items: int | None = None,
        sharpness: float = SHARPNESS,
    ) -> None:
        best = float(np.max(scores, initial=0.0))
        self.worth = (np.asarray(scores, np.float64) / (best or 1.0)) ** sharpness
        cosines = np.clip(vectors @ vectors.T, 0.0, 1.0).astype(np.float32)
        self.before = np.tril(cosines, -1)  # (N, N), [i, j]: j stands before i
        self.holds, self.weights = holds, weights * holds.any(axis=0)
        self.most = _upper_bound(self.worth, np.asarray(tokens, np.int64), budget, max_items)

    def __call__(self, sets: Sets) -> Scores:
        nearest = (sets[:, None, :] * self.before[None]).max(axis=-1, initial=0.0)  # (S, N)
        gained = np.where(sets, self.worth * (1 - REDUNDANCY_LOSS * nearest), 0.0).sum(axis=1)
        relevance = np.minimum(gained / self.most, 1.0) if self.most > 0 else np.zeros(len(sets))
        total = self.weights.sum()
        covered = (sets @ self.holds.astype(np.int64) > 0) @ self.weights / total if total > 0 else relevance
        return np.clip((1 - COVERAGE_SHARE) * relevance + COVERAGE_SHARE * covered, 0.0, 1.0)


def _upper_bound(scores: Scores, tokens: NDArray[np.int64], budget: int, max_items: int | None) -> float:
    """The fractional knapsack's value, and no more than the best max_items together."""
    by_density = np.argsort(-scores / tokens, kind="stable")
    used = np.minimum(np.cumsum(tokens[by_density]), budget)
    parts = np.diff(used, prepend=0) / tokens[by_density]
    bound = float((scores[by_density] * parts).sum())
    return bound if max_items is None else min(bound, float(np.sort(scores)[::-1][:max_items].sum()))
