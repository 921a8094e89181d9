"""Selection: cuts, rounds, and the search over sets, against known optima."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory_service import selection
from memory_service.selection import (
    EvidenceReward,
    Found,
    diversify,
    gradient_cut,
    greedy_fill,
    greedy_marginal,
    mmr,
    tree_search,
)

# The cut


@pytest.mark.parametrize(
    ("scores", "kept"),
    [
        ([0.9] * 8 + [0.2, 0.19], 8),  # a cliff
        ([0.9] * 3 + [0.2] * 7, 10),  # a cliff among those that are always kept
        ([0.9 * 0.9**i for i in range(30)], 30),  # a slope
        ([0.5] * 20, 20),  # flat, all ties
        ([0.9, 0.1], 2),  # fewer than min_k
        ([], 0),
        ([0.5] * 7 + [0.35], 8),  # exactly the share that may be lost
        ([0.5] * 7 + [0.349], 7),
        ([0.5] * 8 + [0.0] * 5, 8),
        ([0.0] * 12, 12),
        ([6.0] * 9 + [-6.0], 9),  # logits: 0.998 and 0.002
        ([-1.0] * 9 + [-1.1], 10),  # logits: 0.27 and 0.25
        ([0.3] * 7 + [0.8, 0.1], 8),  # a rise is no fall
    ],
)
def test_it_cuts_where_the_score_falls(scores: list[float], kept: int) -> None:
    assert gradient_cut(scores) == kept


def test_it_cuts_by_its_own_parameters() -> None:
    assert gradient_cut([0.9, 0.5, 0.45, 0.1], min_k=1, drop=0.3) == 1
    assert gradient_cut([0.9, 0.5, 0.45, 0.1], min_k=1, drop=0.5) == 3
    with pytest.raises(ValueError, match="min_k=0 must be at least 1"):
        gradient_cut([1.0], min_k=0)
    with pytest.raises(ValueError, match="drop=1 must be between 0 and 1"):
        gradient_cut([1.0], drop=1)


@given(st.lists(st.floats(0, 1), max_size=40), st.integers(1, 10), st.floats(0.01, 0.99))
def test_it_keeps_nothing_behind_a_fall_and_stops_at_none_else(scores: list[float], min_k: int, drop: float) -> None:
    kept = gradient_cut(scores, min_k, drop)
    assert min(min_k, len(scores)) <= kept <= len(scores)
    falls = [i for i in range(min_k, len(scores)) if scores[i] < (1 - drop) * scores[i - 1]]
    assert kept == (falls[0] if falls else len(scores))


# MMR


def unit(*rows: list[float]) -> np.ndarray:
    vectors = np.array(rows, np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_it_takes_what_differs_before_what_repeats() -> None:
    vectors = unit([1, 0], [1, 0.01], [0, 1])
    assert mmr([0.9, 0.89, 0.6], vectors, 0.5).order == [0, 2, 1]
    assert mmr([0.9, 0.89, 0.6], vectors, 1.0).order == [0, 1, 2]
    assert mmr([0.9, 0.89, 0.6], vectors, 0.5, num=2).order == [0, 2]
    assert mmr([], np.zeros((0, 2)), 0.5).order == []


def test_it_takes_a_candidate_without_a_vector_for_like_nothing() -> None:
    vectors = np.array([[1, 0], [0, 0], [1, 0]], np.float32)
    assert mmr([0.9, 0.5, 0.8], vectors, 0.5).order == [0, 1, 2]


@given(st.integers(1, 12), st.integers(0, 2**31), st.floats(0, 1))
def test_it_follows_the_definition_of_mmr(count: int, seed: int, trade_off: float) -> None:
    random = np.random.default_rng(seed)
    scores, vectors = random.random(count), random.normal(size=(count, 4))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    found = mmr(scores, vectors, trade_off)
    assert sorted(found.order) == list(range(count))
    for place, chosen in enumerate(found.order):
        before = found.order[:place]
        value = {
            i: trade_off * scores[i] - (1 - trade_off) * max([0.0, *(float(vectors[i] @ vectors[j]) for j in before)])
            for i in found.order[place:]
        }
        assert value[chosen] >= max(value.values()) - 1e-9
        assert found.scores[place] == pytest.approx(value[chosen])


def test_it_refuses_a_lambda_or_vectors_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match=r"lambda=1.5 must be between 0 and 1"):
        mmr([1.0], np.zeros((1, 2)), 1.5)
    with pytest.raises(ValueError, match="2 vectors for 1 scores"):
        mmr([1.0], np.zeros((2, 2)), 0.5)


# Diversity


def test_it_goes_round_the_sessions_and_leaves_the_best_first() -> None:
    found = diversify([0.9, 0.88, 0.86, 0.85, 0.5], ["a", "a", "a", "b", "c"], 0.1)
    assert found.order == [0, 3, 1, 2, 4]
    assert found.scores == pytest.approx([0.9, 0.85, 0.88 * 0.9, 0.86 * 0.81, 0.5])
    assert diversify([0.9, 0.88], ["a", "a"], 0).order == [0, 1]
    assert diversify([], [], 0.1).order == []


def test_it_takes_no_session_for_a_session_of_its_own() -> None:
    assert diversify([0.9, 0.89, 0.88, 0.87], [None, None, None, "a"], 0.5).order == [0, 1, 2, 3]


def test_it_refuses_a_discount_of_everything() -> None:
    with pytest.raises(ValueError, match="discount=1 must be from 0 to below 1"):
        diversify([1.0], ["a"], 1)
    with pytest.raises(ValueError, match="negative scores"):
        diversify([-1.0], ["a"])


# Filling


def test_it_passes_over_what_does_not_fit() -> None:
    assert greedy_fill([0.9, 0.8, 0.7, 0.6], [5, 50, 5, 5], 12) == [0, 2]
    assert greedy_fill([0.9, 0.8, 0.7], [5, 5, 5], 100, max_items=2) == [0, 1]
    assert greedy_fill([0.1, 0.9], [1, 1], 1) == [1]
    assert greedy_fill([0.5, 0.5], [1, 1], 1) == [0]
    assert greedy_fill([], [], 10) == []


# The search over sets

VALUES = np.array([0.9, 0.8, 0.5, 0.45, 0.4, 0.3, 0.2, 0.1])
TOKENS = [90, 70, 30, 30, 30, 25, 10, 5]
BUDGET = 100


def additive(sets: np.ndarray) -> np.ndarray:
    return (sets @ VALUES) / VALUES.sum()


GROUPS = np.array([0, 0, 0, 1, 1, 2, 2, 3])


def submodular(sets: np.ndarray) -> np.ndarray:
    """Only the best of each group counts."""
    best = [np.where(sets & (group == GROUPS), VALUES, 0).max(axis=1) for group in range(4)]
    return np.sum(best, axis=0) / VALUES.sum()


def supermodular(sets: np.ndarray) -> np.ndarray:
    """3, 5 and 7 together answer; alone they say next to nothing."""
    together = sets[:, [3, 5, 7]].sum(axis=1)
    return np.select([together == 3, together == 2], [1.0, 0.1], 0.05) * 0.5 + 0.2 * additive(sets)


def falling(sets: np.ndarray) -> np.ndarray:
    """Two are best: each further one distracts."""
    sizes = sets.sum(axis=1)
    return additive(sets) * np.exp(-np.maximum(0, sizes - 2.0))


def optimum(reward: Callable[[np.ndarray], np.ndarray], max_items: int = 8) -> float:
    sets = np.array(list(itertools.product([False, True], repeat=len(VALUES))))
    fits = (sets @ np.array(TOKENS) <= BUDGET) & (sets.sum(axis=1) <= max_items)
    return float(reward(sets[fits]).max())


REWARDS = [additive, submodular, supermodular, falling]


def find(reward: Callable[[np.ndarray], np.ndarray], **kwargs: object) -> Found:
    return tree_search(reward, VALUES, TOKENS, BUDGET, **kwargs)  # type: ignore[arg-type]


@pytest.mark.parametrize("reward", REWARDS)
@pytest.mark.parametrize("seed", range(5))
def test_it_finds_the_known_optimum_soon(reward: Callable[[np.ndarray], np.ndarray], seed: int) -> None:
    found = find(reward, iterations=40, seed=seed)
    assert found.reward == pytest.approx(optimum(reward))
    row = np.zeros((1, len(VALUES)), np.bool_)
    row[0, found.chosen] = True
    assert reward(row)[0] == pytest.approx(found.reward)


@pytest.mark.parametrize("reward", REWARDS)
def test_it_ends_when_everything_is_known(reward: Callable[[np.ndarray], np.ndarray]) -> None:
    found = find(reward, iterations=10_000)
    sets = np.array(list(itertools.product([False, True], repeat=len(VALUES))))
    assert found.num_scored == (sets @ np.array(TOKENS) <= BUDGET).sum()
    assert len(found.history) < found.num_scored
    assert found.reward == pytest.approx(optimum(reward))


@pytest.mark.parametrize("reward", REWARDS)
def test_it_is_anytime_and_gives_the_same_for_the_same_seed(reward: Callable[[np.ndarray], np.ndarray]) -> None:
    found = find(reward, iterations=25, seed=3)
    assert found.history == sorted(found.history)
    assert found == find(reward, iterations=25, seed=3)
    assert find(reward, iterations=5, seed=3).history == found.history[:5]


def test_it_looks_at_other_completions_with_another_seed() -> None:
    random = np.random.default_rng(0)
    values, tokens = random.random(40), random.integers(5, 40, 40).tolist()
    met: list[set[bytes]] = [set(), set()]
    for seed, seen in enumerate(met):

        def reward(sets: np.ndarray, seen: set[bytes] = seen) -> np.ndarray:
            seen.update(row.tobytes() for row in sets)
            return (sets @ values) / values.sum()

        tree_search(reward, values, tokens, 300, iterations=3, seed=seed)
    assert met[0] != met[1]


def test_it_counts_the_calls_of_the_reward_and_scores_no_set_twice() -> None:
    calls: list[np.ndarray] = []

    def reward(sets: np.ndarray) -> np.ndarray:
        calls.append(sets)
        return submodular(sets)

    found = find(reward, iterations=12)
    seen = [row.tobytes() for sets in calls for row in sets]
    assert found.num_batches == len(calls) <= 13  # one to begin with, at most one an iteration
    assert found.num_scored == len(seen) == len(set(seen))


@given(st.integers(1, 15), st.integers(0, 2**31), st.integers(1, 120), st.integers(1, 6), st.integers(1, 5))
def test_it_never_exceeds_the_budget_or_the_count(
    count: int, seed: int, budget: int, max_items: int, width: int
) -> None:
    random = np.random.default_rng(seed)
    values, tokens = random.random(count), random.integers(1, 60, count)

    def reward(sets: np.ndarray) -> np.ndarray:
        assert (sets @ tokens <= budget).all() and (sets.sum(axis=1) <= max_items).all()
        return (sets @ values) / values.sum()

    kwargs = {"max_items": max_items, "width": width, "iterations": 8, "starts": [list(range(count))]}
    found = tree_search(reward, values, tokens.tolist(), budget, **kwargs)  # type: ignore[arg-type]
    assert tokens[found.chosen].sum() <= budget and len(found.chosen) <= max_items
    filled = greedy_fill(values, tokens.tolist(), budget, max_items=max_items)
    assert found.reward >= values[filled].sum() / values.sum() - 1e-9
    marginal = greedy_marginal(reward, tokens.tolist(), budget, max_items=max_items)
    assert tokens[marginal.chosen].sum() <= budget and len(marginal.chosen) <= max_items


def test_it_is_at_least_as_good_as_the_sets_it_is_given() -> None:
    best = [3, 5, 7]
    assert find(supermodular, iterations=1, starts=[best]).chosen == best
    assert find(supermodular, iterations=0, starts=[[0, 1]]).chosen == greedy_fill(VALUES, TOKENS, BUDGET)  # too large


def test_it_takes_nothing_where_nothing_fits() -> None:
    assert tree_search(additive, VALUES, TOKENS, 4).chosen == []
    assert tree_search(lambda sets: np.zeros(len(sets)), [], [], 10).chosen == []
    assert greedy_marginal(additive, TOKENS, 4).chosen == []


def test_it_prefers_the_cheaper_of_equal_sets() -> None:
    found = tree_search(lambda sets: np.minimum(1.0, sets.sum(axis=1)), [0.9, 0.8], [10, 3], 20)
    assert found.chosen == [1]


def test_it_refuses_rewards_that_are_not_squashed() -> None:
    with pytest.raises(ValueError, match="from 0 to 1 for each set: squash logits first"):
        tree_search(lambda sets: sets.sum(axis=1) * 3.0, VALUES, TOKENS, BUDGET)
    with pytest.raises(ValueError, match="at least one token"):
        tree_search(additive, VALUES, [0] * 8, BUDGET)
    with pytest.raises(ValueError, match="7 token counts for 8 scores"):
        tree_search(additive, VALUES, TOKENS[:7], BUDGET)


def test_it_is_misled_greedily_where_the_tree_is_not() -> None:
    """The greedy step takes the costly best one and has no room left."""
    assert greedy_marginal(additive, TOKENS, BUDGET).reward < optimum(additive)
    assert greedy_marginal(submodular, TOKENS, BUDGET).history == sorted(
        greedy_marginal(submodular, TOKENS, BUDGET).history
    )


# The reward without a model


def evidence(**changed: object) -> EvidenceReward:
    given = {
        "scores": np.array([0.8, 0.8, 0.7, 0.68]),
        "vectors": unit([1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]),
        "holds": np.array([[1, 0], [1, 0], [0, 0], [0, 1]], np.bool_),
        "weights": np.array([1.0, 3.0]),
        "tokens": [10, 10, 10, 10],
        "budget": 20,
        "sharpness": 1.0,
    }
    return EvidenceReward(**(given | changed))  # type: ignore[arg-type]


def reward_of(reward: EvidenceReward, *chosen: int) -> float:
    row = np.zeros((1, len(reward.worth)), np.bool_)
    row[0, list(chosen)] = True
    return float(reward(row)[0])


def test_it_values_relevance_words_and_difference() -> None:
    reward = evidence()
    assert reward_of(reward) == 0
    assert reward_of(reward, 0, 2) > reward_of(reward, 0, 1)  # 1 says what 0 says
    assert reward_of(reward, 0, 3) > reward_of(reward, 0, 2)  # 3 holds the rarer word
    assert reward_of(reward, 0) == pytest.approx(0.9 * 0.8 / 1.6 + 0.1 * 1 / 4)
    assert reward_of(reward, 0, 1) == pytest.approx(0.9 * (0.8 + 0.8 * 0.8) / 1.6 + 0.1 * 1 / 4)


def test_it_prefers_one_good_text_to_two_poor_ones_of_its_size() -> None:
    changed = {
        "scores": np.array([0.9, 0.6, 0.6, 0.0]),
        "tokens": [20, 10, 10, 10],
        "holds": np.zeros((4, 2), np.bool_),
    }
    flat, sharp = evidence(**changed), evidence(**changed, sharpness=selection.SHARPNESS)
    assert reward_of(flat, 1, 2) > reward_of(flat, 0)
    assert reward_of(sharp, 1, 2) < reward_of(sharp, 0)


def test_it_stays_within_0_and_1_where_nothing_is_known() -> None:
    nothing = evidence(scores=np.zeros(4), holds=np.zeros((4, 0), np.bool_), weights=np.zeros(0))
    assert reward_of(nothing, 0, 1, 2, 3) == 0
    wordless = evidence(holds=np.zeros((4, 2), np.bool_))
    assert 0 < reward_of(wordless, 0, 2) <= 1


@given(st.integers(1, 8), st.integers(0, 2**31), st.integers(1, 100))
def test_it_never_leaves_0_to_1_for_what_fits(count: int, seed: int, budget: int) -> None:
    random = np.random.default_rng(seed)
    tokens = random.integers(1, 40, count)
    vectors = random.normal(size=(count, 3))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    holds, weights = random.random((count, 3)) < 0.4, random.random(3)
    reward = EvidenceReward(random.random(count), vectors, holds, weights, tokens.tolist(), budget)
    sets = np.array(list(itertools.product([False, True], repeat=count)))
    values = reward(sets[sets @ tokens <= budget])
    assert ((values >= 0) & (values <= 1)).all()


def test_it_squashes_without_overflow() -> None:
    assert selection.squash(np.array([-1e9, 0.0, 1e9])).tolist() == [0.0, 0.5, 1.0]
