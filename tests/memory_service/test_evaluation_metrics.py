"""Figures against what is counted by hand and by brute force; intervals against what they promise."""

from __future__ import annotations

import itertools
import math
import random

import numpy as np
import pytest

from memory_service.evaluation import metrics
from memory_service.evaluation.metrics import Ranked, bootstrap, compare, ndcg, score_question

A, B, C = "a", "b", "c"


def hits(*cited: str, tokens: int = 100) -> list[Ranked]:
    """One hit for each word; its letters are the messages that it cites."""
    return [Ranked(frozenset(ids), frozenset(f"s{one}" for one in ids), tokens, tokens // 2) for ids in cited]


def test_it_scores_a_ranking_by_hand() -> None:
    found = score_question(hits("x", "a", "x", "x", "x", "x", "b"), frozenset({A, B}))
    assert found["recall@5"] == 0.5
    assert found["recall@10"] == 1
    assert found["recall@500t"] == 0.5  # five hits of 100 tokens
    assert found["recall@1000t"] == 1
    assert found["recall@500tok"] == 1  # ten of 50
    assert (found["any@5"], found["all@5"], found["all@10"]) == (1, 0, 1)
    assert found["mrr"] == 0.5
    gained = 1 / math.log2(3) + 1 / math.log2(8)
    assert found["ndcg@10"] == pytest.approx(gained / (1 + 1 / math.log2(3)))


def test_it_stops_at_the_first_hit_that_does_not_fit() -> None:
    large = [Ranked(frozenset({A}), tokens=400), Ranked(frozenset({B}), tokens=200), Ranked(frozenset({C}), tokens=10)]
    assert score_question(large, frozenset({A, B, C}))["recall@500t"] == pytest.approx(1 / 3)
    exactly = [Ranked(frozenset({A}), tokens=300), Ranked(frozenset({B}), tokens=200)]
    assert score_question(exactly, frozenset({A, B}))["recall@500t"] == 1


def test_it_ranks_sessions_by_their_best_hit() -> None:
    found = score_question(hits("a", "a", "a", "a", "a", "b"), frozenset(), frozenset({"sb"}))
    assert found["session_recall@5"] == 1  # two sessions, though six hits
    assert found["session_ndcg@5"] == pytest.approx(1 / math.log2(3))
    assert "recall@5" not in found


def test_it_gives_nothing_to_an_empty_ranking() -> None:
    found = score_question([], frozenset({A}), frozenset({"s"}))
    assert set(found.values()) == {0.0}


def brute_ndcg(cited: list[frozenset[str]], gold: frozenset[str], k: int) -> float:
    """Each hit cites at most one message: the gain of the order over the best of all orders."""

    def gain(order: tuple[frozenset[str], ...]) -> float:
        seen: set[str] = set()
        total = 0.0
        for rank, ids in enumerate(order[:k], start=1):
            total += len((ids & gold) - seen) / math.log2(rank + 1)
            seen |= ids
        return total

    everything = [*cited, *(frozenset({one}) for one in gold if frozenset({one}) not in cited)]
    return gain(tuple(cited)) / max(gain(order) for order in itertools.permutations(everything))


def test_it_agrees_with_the_best_of_all_orders() -> None:
    rng = random.Random(7)
    for _ in range(60):
        cited = [frozenset({rng.choice("abxyz")}) for _ in range(rng.randint(1, 5))]
        gold = frozenset(rng.sample("abc", rng.randint(1, 2)))
        assert ndcg(cited, gold, 3) == pytest.approx(brute_ndcg(cited, gold, 3))


def test_it_keeps_every_figure_between_none_and_all() -> None:
    rng = random.Random(1)
    for _ in range(300):
        ranking = hits(*("".join(rng.sample("abcdexyz", rng.randint(0, 3))) for _ in range(rng.randint(0, 30))))
        found = score_question(ranking, frozenset(rng.sample("abcde", rng.randint(1, 5))))
        assert all(0 <= value <= 1 for value in found.values())
        assert found["recall@5"] <= found["recall@10"] <= found["recall@20"] <= found["recall@50"]
        assert found["recall@500t"] <= found["recall@1000t"] <= found["recall@2000t"]


def test_it_takes_the_mean_over_questions_and_leaves_out_what_is_not_there() -> None:
    values = np.array([[1.0, math.nan], [0.0, 1.0], [1.0, math.nan]])
    first, second = bootstrap(values, ["x", "x", "y"])
    assert (first.mean, first.n) == (pytest.approx(2 / 3), 3)
    assert (second.mean, second.n) == (1, 1)
    assert bootstrap(np.full((2, 1), math.nan), ["x", "y"])[0].n == 0


def test_it_is_the_same_for_the_same_seed() -> None:
    values = np.random.default_rng(3).random((40, 2))
    names = [str(i % 8) for i in range(40)]
    assert bootstrap(values, names) == bootstrap(values, names)
    assert bootstrap(values, names) != bootstrap(values, names, seed=1)


def coverage(num_clusters: int, size: int, cluster_sd: float) -> float:
    """The share of 300 worlds whose interval holds the true mean, 0."""
    rng = np.random.default_rng(11)
    held = 0
    for _ in range(300):
        levels = rng.normal(0, cluster_sd, num_clusters)
        values = (levels[:, None] + rng.normal(0, 1, (num_clusters, size))).reshape(-1, 1)
        names = [str(i) for i in range(num_clusters) for _ in range(size)]
        found = bootstrap(values, names)[0]
        held += found.low <= 0 <= found.high
    return held / 300


@pytest.mark.parametrize(("num_clusters", "size"), [(5, 30), (20, 10), (60, 1)])
def test_it_covers_the_truth_about_as_often_as_it_says(
    monkeypatch: pytest.MonkeyPatch, num_clusters: int, size: int
) -> None:
    monkeypatch.setattr(metrics, "NUM_RESAMPLES", 1000)
    assert 0.90 <= coverage(num_clusters, size, cluster_sd=0.5) <= 0.99


def test_it_would_be_far_too_sure_without_clusters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "NUM_RESAMPLES", 500)
    rng = np.random.default_rng(5)
    held = 0
    for _ in range(100):
        values = (rng.normal(0, 1, (8, 1)) + rng.normal(0, 0.3, (8, 30))).reshape(-1, 1)
        found = bootstrap(values, ["one"] * len(values))[0]
        held += found.low <= 0 <= found.high
    assert held < 60


def test_it_sees_a_paired_difference_that_the_spread_of_questions_hides() -> None:
    rng = np.random.default_rng(2)
    hard = rng.random((200, 1))
    better = np.clip(hard + rng.normal(0.03, 0.05, (200, 1)), 0, 1)
    names = [str(i % 10) for i in range(200)]
    found = compare(hard, better, names)[0]
    assert found.low > 0
    assert found.p is not None
    assert found.p < 0.01
    same = compare(hard, hard, names)[0]
    assert (same.mean, same.low, same.high, same.p) == (0, 0, 0, 1)


def test_it_finds_a_difference_by_chance_about_as_rarely_as_p_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "NUM_RESAMPLES", 1000)
    rng = np.random.default_rng(9)
    names = [str(i) for i in range(30)]
    found = [compare(rng.random((30, 1)), rng.random((30, 1)), names)[0] for _ in range(300)]
    assert 0.01 <= sum(one.p is not None and one.p < 0.05 for one in found) / 300 <= 0.10
    clear = [one for one in found if one.p is not None and abs(one.p - 0.05) > 0.01]  # the resamples are few
    assert all((one.low > 0 or one.high < 0) == (one.p is not None and one.p < 0.05) for one in clear)


def test_it_says_how_many_names_are_needed() -> None:
    with pytest.raises(ValueError, match="1 clusters for 2 rows: there must be one for each"):
        bootstrap(np.zeros((2, 1)), ["x"])
