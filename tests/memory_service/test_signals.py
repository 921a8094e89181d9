from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory_service import fusion, lexical, questions, signals, traits
from memory_service.search_cache import Documents
from memory_service.training import corpora
from memory_service.training import fusion as training
from memory_service.training.corpora import History, Turn
from memory_service.windows import Totals, Windows

TALK = History(
    "made",
    [
        [
            Turn("0", "Caroline", "I went to the pottery class on 7 May 2023."),
            Turn("1", "Melanie", "Lovely! Which colours did you use?"),
            Turn("2", "Caroline", "Mostly blue and three shades of green."),
            Turn("3", "Melanie", "I painted a lake last year."),
        ],
        [Turn("4", "Melanie", "Did you hear about the race?"), Turn("5", "Caroline Meyer", "Yes, it was on Sunday.")],
    ],
)


def documents() -> Documents:
    return training.to_documents(TALK)[0]


def ask(text: str, cosines: np.ndarray | None = None) -> dict[str, np.ndarray]:
    made, counts = training.to_documents(TALK)
    question = questions.read(text, made.traits)
    terms = question.content
    frequencies = {t: np.array([c.get(t, 0) for c in counts], float) for t in terms if any(t in c for c in counts)}
    return signals.compute(
        made, question, frequencies, np.full(6, 0.5) if cosines is None else cosines, wanted=signals.NAMES
    )


# Traits


@pytest.mark.parametrize(
    ("text", "time", "number"),
    [
        ("Ann: I like tea.", False, False),
        ("Ann: We met in 2021.", True, True),
        ("Ann: I saw it yesterday, twice.", True, True),
        ("Ann: It was at 5 pm.", True, True),
        ("Ann: Three of them came.", False, True),
        ("May Day: It rained.", False, False),  # the speaker's name is none of what was said
    ],
)
def test_it_reads_what_a_text_names(text: str, time: bool, number: bool) -> None:
    found = traits.unpack(np.array([traits.of(text, text.split(":")[0], is_turn=True)]))
    assert (bool(found.names_time[0]), bool(found.names_number[0])) == (time, number)


@given(st.text(max_size=300), st.one_of(st.none(), st.text(max_size=80)), st.booleans())
def test_traits_of_any_text_fit_a_column_and_come_back(text: str, speaker: str | None, is_turn: bool) -> None:
    packed = traits.of(text, speaker, is_turn=is_turn)
    assert 0 <= packed < 2**63
    found = traits.unpack(np.array([packed]))
    name = traits.fold_name(speaker or "")
    assert found.name[0] == traits.name_key(name)
    assert found.first_name[0] == traits.first_name_key(name)
    assert (found.name[0] == 0) == (not name)


# Questions


def test_a_question_says_whom_it_names_and_what_it_asks_for() -> None:
    said = documents().traits
    question = questions.read("When did Caroline's friend see the race?", said)
    assert question.names_speaker
    assert question.asks_when
    assert not question.asks_number
    assert lexical.stem("caroline") in question.terms
    assert lexical.stem("caroline") not in question.content
    assert questions.read("How many shades did she use?", said).asks_number


def test_a_question_that_is_nothing_but_a_name_keeps_its_word() -> None:
    question = questions.read("Melanie", documents().traits)
    assert question.content == question.terms == (lexical.stem("melanie"),)


def test_who_asks_of_themselves_means_the_user() -> None:
    talk = History("made", [[Turn("0", "User", "I live in Oslo."), Turn("1", "Assistant", "How nice.")]])
    said = training.to_documents(talk)[0].traits
    assert questions.read("Where do I live?", said).names_speaker
    assert not questions.read("Where does he live?", said).names_speaker


# Signals


def test_the_speaker_counts_where_one_is_named() -> None:
    assert ask("What did Melanie paint?")["speaker"].tolist() == [0, 1, 0, 1, 1, 0]
    assert ask("What did Melanie and Caroline Meyer do?")["speaker"].tolist() == [0.5] * 6
    assert ask("What was painted?")["speaker"].tolist() == [0.5] * 6


def test_a_first_name_means_who_has_it_where_nobody_is_called_just_that() -> None:
    talk = History("made", [[Turn("0", "Caroline Meyer", "Yes."), Turn("1", "Ben Holt", "No.")]])
    made, _ = training.to_documents(talk)
    question = questions.read("What does Ben think?", made.traits)
    found = signals.compute(made, question, {}, np.zeros(2), wanted=["speaker"])
    assert found["speaker"].tolist() == [0, 1]


def test_the_kind_of_answer_counts_where_one_is_asked_for() -> None:
    assert ask("When was the class?")["answer_kind"].tolist() == [1, 0, 0, 1, 0, 1]
    assert ask("How many shades of green?")["answer_kind"].tolist() == [1, 0, 1, 0, 0, 0]
    assert ask("Which class?")["answer_kind"].tolist() == [0] * 6


def test_windows_stay_inside_a_session() -> None:
    found = ask("pottery", np.array([1.0, 0, 0, 0, 0, 0]))
    assert found["neighbour_semantic"].tolist() == pytest.approx([0.5, 1 / 3, 0, 0, 0, 0])
    assert found["around_semantic"].tolist() == pytest.approx([0.25, 0.25, 0.25, 0.25, 0, 0])
    assert found["session_semantic"].tolist() == [1, 1, 1, 1, 0, 0]
    assert (found["before_bm25"] > 0).tolist() == [True, True, True, False, False, False]
    assert (found["session_bm25"] > 0).tolist() == [True] * 4 + [False] * 2


def test_coverage_is_the_share_of_words_near_by() -> None:
    found = ask("pottery unicorn")
    assert 0 < found["coverage"][0] < 1
    assert ask("pottery")["coverage"].tolist() == pytest.approx([1, 1, 1, 0, 0, 0])


def test_bm25_is_the_share_that_a_plain_computation_gives() -> None:
    made, counts = training.to_documents(TALK)
    terms = ["blue", "green", "unicorn"]
    stems = [lexical.stem(term) for term in terms]
    rows = {t: np.array([c.get(t, 0) for c in counts], float) for t in stems}
    postings = [(np.flatnonzero(tf), tf[tf > 0]) for tf in rows.values() if tf.any()]
    plain = lexical.bm25(postings, made.num_terms)
    best = sum(lexical.idf(int((tf > 0).sum()), 6) for tf in rows.values())
    assert ask(" ".join(terms))["bm25"] == pytest.approx(np.minimum(1, plain / best))


@given(st.lists(st.booleans(), min_size=0, max_size=30), st.integers(0, 4), st.integers(0, 4))
def test_window_sums_are_those_of_a_loop(linked: list[bool], before: int, after: int) -> None:
    values = np.arange(1.0, len(linked) + 2) ** 2
    expected = []
    for i in range(len(values)):
        low = high = i
        while low > max(0, i - before) and linked[low - 1]:
            low -= 1
        while high < min(len(linked), i + after) and linked[high]:
            high += 1
        expected.append(values[low : high + 1].sum())
    windows = Windows(np.array(linked, np.bool_))
    assert Totals(values, windows).sum(before, after) == pytest.approx(expected)
    twice = Totals(np.stack([values, 2 * values], axis=1), windows).sum(before, after)
    assert twice == pytest.approx(np.stack([expected, 2 * np.array(expected)], axis=1))


def test_feedback_takes_terms_that_stand_out_and_occur_elsewhere() -> None:
    made, counts = training.to_documents(TALK)
    chosen = signals.feedback_candidates([counts[0], counts[2]], [0.9, 0.5], known={lexical.stem("pottery")})
    assert lexical.stem("pottery") not in chosen
    assert chosen[lexical.stem("class")] > chosen[lexical.stem("green")]
    frequencies = {t: np.array([c.get(t, 0) for c in counts], float) for t in chosen}
    scores = signals.feedback(made, chosen, frequencies)
    assert scores[0] > 0 and scores[2] > 0
    assert scores[5] > 0  # "Caroline" stands in both, and here


# Fusion


def test_the_shipped_weights_are_of_known_signals_and_carry_their_record() -> None:
    for name, model in fusion.load_weights().items():
        assert set(model.weights) == {*signals.NAMES, *(["pseudo_feedback"] if name == "feedback" else [])}
    record = re.sub(r"\s", "", fusion.WEIGHTS_FILE.read_text())
    assert '"qmsum"' in record and '"fairytaleqa"' in record and "locomo" not in record.lower()


def test_reciprocal_rank_and_mean_use_the_basic_signals_alone() -> None:
    found = {"bm25": np.array([0.9, 0.1, 0.0]), "semantic": np.array([0.2, 0.4, 0.1]), "length": np.array([0, 0, 1.0])}
    weights = fusion.learned_weights(with_feedback=False)
    assert fusion.fuse(found, "mean", weights) == pytest.approx([0.55, 0.25, 0.05])
    k = fusion.RECIPROCAL_K
    expected = [(1 + k / (k + 1)) / 2, (k / (k + 1) + 1) / 2, (0 + k / (k + 2)) / 2]
    assert fusion.fuse(found, "reciprocal", weights) == pytest.approx(expected)


def test_contributions_and_bias_make_the_score() -> None:
    weights = fusion.Weights({"bm25": 2.0, "semantic": 1.0}, -1.0)
    found = {"bm25": np.array([0.5, 0.0]), "semantic": np.array([1.0, 0.0])}
    assert fusion.fuse(found, "learned", weights) == pytest.approx([1 / (1 + np.exp(-1)), 1 / (1 + np.exp(1))])


# Training


def made_examples(seed: int) -> list[training.Example]:
    """The third signal tells evidence; the first is noise; the second misleads."""
    rng = np.random.default_rng(seed)
    found = []
    for i in range(120):
        evidence = np.zeros(30, np.bool_)
        evidence[rng.integers(30)] = True
        matrix = rng.uniform(0, 1, (30, 3))
        matrix[evidence, 2] += 0.6
        matrix[evidence, 1] -= 0.3
        found.append(training.Example(f"corpus{i % 2}", matrix.astype(np.float32), evidence))
    return found


def test_it_finds_the_signals_that_tell_evidence() -> None:
    fitted = training.fit(made_examples(0), ("noise", "against", "telling"), l2=0.01)
    noise, against, telling = fitted.weights
    assert telling > 3 * abs(noise) and against < 0
    held_out = training.recall(made_examples(1), fitted.weights)
    assert min(held_out.values()) > 0.9
    assert set(training.left_out(made_examples(0), fitted.names, l2=0.01)) == {"corpus0", "corpus1"}


def test_it_puts_half_between_evidence_and_the_rest() -> None:
    examples = made_examples(2)
    fitted = training.fit(examples, ("noise", "against", "telling"), l2=0.01)
    scores = [1 / (1 + np.exp(-(e.signals @ fitted.weights + fitted.bias))) for e in examples]
    of_evidence = np.concatenate([s[e.evidence] for s, e in zip(scores, examples, strict=True)])
    of_rest = np.concatenate([s[~e.evidence] for s, e in zip(scores, examples, strict=True)])
    assert np.median(of_rest) < 0.5 < np.median(of_evidence)


def test_it_refuses_to_fit_to_nothing() -> None:
    with pytest.raises(ValueError, match="no question has evidence"):
        training.fit([training.Example("a", np.zeros((3, 1), np.float32), np.zeros(3, np.bool_))], ("x",))


def test_templates_make_questions_that_the_answer_is_not_part_of() -> None:
    import random

    said = [Turn("0", "Anna", "I really love to paint old lighthouses."), Turn("1", "Anna", "I slept well.")]
    made = list(corpora._persona_questions("I love to paint lighthouses.", "Anna", said, random.Random(1)))
    assert len(made) == 1
    text, evidence = made[0]
    assert "Anna" in text and "lighthouse" not in text and evidence == {"0"}
