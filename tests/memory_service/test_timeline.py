"""The fold: what held when, whatever order it was learned in."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory_service.timeline import Said, Span, fold, names, same_value, subject_key

DAY = timedelta(days=1)
T0 = datetime(2024, 1, 1, 12, tzinfo=UTC)


def said(key: int, day: float, value: str | None, polarity: str = "holds", **kwargs: object) -> Said:
    at = T0 + day * DAY
    kwargs.setdefault("said_at", at)
    return Said(key, value, f"{polarity} {value}", at, polarity=polarity, **kwargs)  # type: ignore[arg-type]


def show(spans: list[Span]) -> list[tuple[str | None, str, float, float | None, bool]]:
    def day(moment: datetime | None) -> float | None:
        return None if moment is None else round((moment - T0) / DAY, 2)

    return [(s.value, s.polarity, day(s.start) or 0.0, day(s.end), s.retracted) for s in spans]


def test_a_later_value_ends_an_earlier_one_where_one_holds_at_a_time() -> None:
    line = fold([said(1, 0, "Lisbon"), said(2, 10, "Oslo")], single=True, attribute="lives in")
    assert show(line.spans) == [("Lisbon", "holds", 0, 10, False), ("Oslo", "holds", 10, None, False)]


def test_values_stand_beside_each_other_where_several_may() -> None:
    line = fold([said(1, 0, "a dog"), said(2, 10, "a cat")], single=False, attribute="has")
    assert [end for _, _, _, end, _ in show(line.spans)] == [None, None]


def test_moving_away_and_back_gives_three_spans() -> None:
    line = fold([said(1, 0, "Lisbon"), said(2, 10, "Oslo"), said(3, 20, "Lisbon")], single=True, attribute="lives in")
    assert [(v, e) for v, _, _, e, _ in show(line.spans)] == [("Lisbon", 10), ("Oslo", 20), ("Lisbon", None)]


def test_saying_it_again_changes_nothing() -> None:
    line = fold(
        [said(1, 0, "Oslo"), said(2, 10, "Oslo"), said(3, 20, "Oslo, Norway")], single=True, attribute="lives in"
    )
    assert show(line.spans) == [("Oslo, Norway", "holds", 0, None, False)]


def test_an_ending_ends_the_one_it_names_and_no_other() -> None:
    pets = [said(1, 0, "a dog named Rex"), said(2, 1, "a cat named Momo"), said(3, 9, "Rex", "ended")]
    spans = show(fold(pets, single=False, attribute="has").spans)
    assert ("a dog named Rex", "holds", 0, 9, False) in spans
    assert ("a cat named Momo", "holds", 1, None, False) in spans
    assert ("Rex", "ended", 9, None, False) in spans


def test_an_ending_that_may_mean_several_waits_for_a_person() -> None:
    dogs = [said(1, 0, "a dog named Rex"), said(2, 1, "a dog named Bella"), said(3, 9, "dog", "ended")]
    line = fold(dogs, single=False, attribute="has")
    assert "may mean any of 2" in line.doubts[0].reason
    assert all(span.end is None for span in line.spans)


def test_an_unsure_statement_ends_nothing_until_it_is_approved() -> None:
    unsure = said(2, 10, "Oslo", confidence=0.5)
    line = fold([said(1, 0, "Lisbon"), unsure], single=True)
    assert [span.end for span in line.spans] == [None, None]
    assert len(line.doubts) == 1
    approved = said(2, 10, "Oslo", confidence=0.5, standing="approved")
    assert not fold([said(1, 0, "Lisbon"), approved], single=True).doubts
    assert show(fold([said(1, 0, "Lisbon"), approved], single=True).spans)[0][3] == 10


def test_a_correction_says_that_it_never_was() -> None:
    line = fold([said(1, 0, "Monday"), said(2, 3, "Tuesday", corrects=True)], single=True)
    assert show(line.spans) == [("Monday", "holds", 0, 0, True), ("Tuesday", "holds", 0, None, False)]


def test_a_denial_takes_back_and_is_ended_by_its_opposite() -> None:
    line = fold([said(1, 0, "meat"), said(2, 5, "meat", "ended"), said(3, 9, "meat")], single=False, attribute="eats")
    assert show(line.spans) == [
        ("meat", "holds", 0, 5, False),
        ("meat", "ended", 5, 9, False),
        ("meat", "holds", 9, None, False),
    ]
    never = fold([said(1, 0, "Paris"), said(2, 5, "Paris", "never")], single=True, attribute="lives in")
    assert show(never.spans)[0] == ("Paris", "holds", 0, 0, True)


def test_a_correction_of_one_of_several_takes_back_what_was_said_last_and_lately() -> None:
    wrong = [said(1, -50, "eggs"), said(2, 0, "walnuts"), said(3, 1, "cashews", corrects=True)]
    spans = show(fold(wrong, single=False, attribute="is allergic to").spans)
    assert [(v, e, r) for v, _, _, e, r in spans] == [
        ("eggs", None, False),
        ("walnuts", 0, True),
        ("cashews", None, False),
    ]
    late = [said(1, 0, "walnuts"), said(2, 30, "cashews", corrects=True)]
    assert all(span.end is None for span in fold(late, single=False, attribute="is allergic to").spans)


def test_what_does_not_hold_any_more_is_no_mistake_though_it_is_called_a_correction() -> None:
    line = fold([said(1, 0, "tea"), said(2, 9, "tea", "ended", corrects=True)], single=False, attribute="likes")
    assert show(line.spans)[0] == ("tea", "holds", 0, 9, False)


def test_a_silent_ending_leaves_no_span() -> None:
    line = fold([said(1, 0, "Lisbon"), said(2, 9, "Lisbon", "ended", silent=True)], single=True)
    assert show(line.spans) == [("Lisbon", "holds", 0, 9, False)]


def test_who_moved_last_month_moved_after_what_was_said_in_it() -> None:
    moved = said(2, 5, "Oslo", dated=True, said_at=T0 + 40 * DAY)  # on day 40: "I moved last month", from day 5
    line = fold([said(1, 15, "Lisbon"), moved], single=True, attribute="lives in")
    assert [(v, e) for v, _, _, e, _ in show(line.spans)] == [("Lisbon", 15), ("Oslo", None)]


def test_what_was_long_ago_does_not_end_the_present() -> None:
    told_late = said(2, 0, "Paris", dated=True, said_at=T0 + 500 * DAY)
    line = fold([said(1, 400, "Oslo"), told_late], single=True, attribute="lives in")
    assert [(v, e) for v, _, _, e, _ in show(line.spans)] == [("Paris", 400), ("Oslo", None)]


def test_what_is_written_by_hand_is_not_ended_by_what_was_said_before() -> None:
    by_hand = said(2, 0, "Porto", by_hand=True, said_at=T0 + 100 * DAY)
    line = fold([by_hand, said(3, 50, "Lisbon"), said(4, 200, "Oslo")], single=True, attribute="lives in")
    assert [(v, e) for v, _, _, e, _ in show(line.spans)] == [("Porto", 200), ("Lisbon", 50), ("Oslo", None)]


VALUES = ["Oslo", "Lisbon", "Bergen", "Rome"]
STATEMENTS = st.lists(
    st.tuples(
        st.sampled_from(VALUES),
        st.sampled_from(["holds", "holds", "holds", "ended", "never"]),
        st.booleans(),  # corrects
        st.sampled_from([0, 0, 0, 3, 30]),  # days since it holds
        st.booleans(),  # silent
    ),
    min_size=1,
    max_size=9,
)


@given(STATEMENTS, st.booleans(), st.randoms(use_true_random=False))
def test_the_order_of_arrival_does_not_matter(
    drawn: list[tuple[str, str, bool, int, bool]], single: bool, order: random.Random
) -> None:
    statements = [
        Said(
            key=i,
            value=value,
            text=f"{i}",
            at=T0 + (7 * i - ago) * DAY,
            said_at=T0 + 7 * i * DAY,
            polarity=polarity,  # type: ignore[arg-type]
            dated=ago > 0,
            corrects=corrects and polarity == "holds",
            silent=silent and polarity != "holds",
        )
        for i, (value, polarity, corrects, ago, silent) in enumerate(drawn)
    ]
    expected = fold(statements, single=single, attribute="lives in")
    shuffled = list(statements)
    order.shuffle(shuffled)
    found = fold(shuffled, single=single, attribute="lives in")
    assert show(found.spans) == show(expected.spans)
    assert [[s.key for s in span.said] for span in found.spans] == [[s.key for s in e.said] for e in expected.spans]
    for span in expected.spans:
        assert span.end is None or span.end >= span.start
    if single:
        assert sum(span.end is None and span.polarity == "holds" for span in expected.spans) <= 1


@pytest.mark.parametrize(
    ("left", "right", "same"),
    [
        ("a software engineer", "software engineer", True),
        ("the city of London", "London", True),
        ("Oslo", "Bergen", False),
        (None, None, True),
        (None, "Oslo", False),
        ("C++", "C", False),
    ],
)
def test_values_are_compared_by_their_words(left: str | None, right: str | None, same: bool) -> None:
    assert same_value(left, right) is same


def test_a_mention_can_mean_a_value() -> None:
    assert names("Rex", "a dog named Rex")
    assert names("the trip to Rome", "go to Rome")
    assert names("my dogs", "a dog")
    assert not names("Rex", "a cat named Momo")
    assert not names("coffee ice cream", "coffee", loose=False)


def test_subjects_meet_by_their_words() -> None:
    assert subject_key("The  Eiffel Tower") == subject_key("eiffel tower")
    assert subject_key("Ann’s sister Anna") == "ann's sister anna"
