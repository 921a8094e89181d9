from __future__ import annotations

from datetime import UTC, date, datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory_service.timeexpr import find_time_expressions, make_absolute

MONDAY = datetime(2023, 5, 8, 13, 56, tzinfo=UTC)


@pytest.mark.parametrize(
    ("said", "resolved"),
    [
        ("We rowed across the lake yesterday", "yesterday (7 May 2023)"),
        ("We rowed last month", "last month (April 2023)"),
        ("We rowed last week", "last week (week of 1 May 2023)"),
        ("We rowed last Saturday", "last Saturday (6 May 2023)"),
        ("We rowed last Mon", "last Mon (1 May 2023)"),
        ("We rowed this past weekend", "this past weekend (weekend of 6 May 2023)"),
        ("We leave next month", "next month (June 2023)"),
        ("We leave next summer", "next summer (summer 2023)"),
        ("We leave in three days", "in three days (11 May 2023)"),
        ("We leave tomorrow at 5pm", "tomorrow at 5pm (9 May 2023, 17:00)"),
        ("We met two weeks ago", "two weeks ago (week of 24 April 2023)"),
        ("We met a few years ago", "a few years ago (about 2020)"),
        ("We met 10 years ago", "10 years ago (2013)"),
        ("We met last winter", "last winter (winter 2022-23)"),
        ("We met last May", "last May (May 2022)"),
        ("We met this morning", "this morning (8 May 2023)"),
        ("We danced last night", "last night (7 May 2023)"),
        ("We will dance the week before 9 June", "the week before 9 June (week of 29 May 2023)"),
        ("We danced the weekend before last", "the weekend before last (weekend of 29 April 2023)"),
        ("On Friday we danced", "On Friday (5 May 2023)"),
        ("We will dance on Friday", "on Friday (12 May 2023)"),
        ("We danced on the 2nd, in the rain", "on the 2nd (2 May 2023)"),
        ("Three Fridays ago", "Three Fridays ago (21 April 2023)"),
    ],
)
def test_it_adds_the_date_to_what_is_relative(said: str, resolved: str) -> None:
    assert resolved in make_absolute(said, reference=MONDAY)


@pytest.mark.parametrize(
    ("said", "begin", "grain"),
    [
        ("7 May 2023", date(2023, 5, 7), "day"),
        ("May 7th", date(2023, 5, 7), "day"),
        ("Sunday, the 7th of May", date(2023, 5, 7), "day"),
        ("2023-05-07", date(2023, 5, 7), "day"),
        ("07/05/2023", date(2023, 5, 7), "day"),
        ("05/17/2023", date(2023, 5, 17), "day"),
        ("in March", date(2023, 3, 1), "month"),
        ("March 2021", date(2021, 3, 1), "month"),
        ("since 2016", date(2016, 1, 1), "year"),
        ("the 90s", date(1990, 1, 1), "decade"),
        ("7. Juni 2023", date(2023, 6, 7), "day"),
    ],
)
def test_it_finds_absolute_dates_and_leaves_them_alone(said: str, begin: date, grain: str) -> None:
    (found,) = find_time_expressions(said, reference=MONDAY)
    assert (found.begin.date(), found.grain, found.relative) == (begin, grain, False)
    assert make_absolute(said, reference=MONDAY) == said


@pytest.mark.parametrize(
    "said",
    [
        "I may march on",
        "the other day",
        "every Friday",
        "I learned it in three days",
        "The last year was hard",
        "31 June 2023",
        "version 3.5.2",
        "Good Friday",
        "We sat in the sun",
        "10.11.12.13",
        "",
    ],
)
def test_it_does_not_invent_dates(said: str) -> None:
    assert find_time_expressions(said, reference=MONDAY) == []


def test_it_resolves_over_the_turn_of_the_year_and_leap_days() -> None:
    new_year = datetime(2024, 1, 1, tzinfo=UTC)
    assert make_absolute("yesterday", reference=new_year) == "yesterday (31 December 2023)"
    assert make_absolute("last month", reference=new_year) == "last month (December 2023)"
    assert make_absolute("yesterday", reference=datetime(2024, 3, 1)) == "yesterday (29 February 2024)"


_PIECES = [
    "yesterday",
    "last week",
    "next year",
    "a few decades ago",
    "in 3 days",
    "on Friday",
    "tonight",
    "at 5pm",
    "(2022)",
    "29 February",
    "the week before 9 June",
    "last May",
    "99 years ago",
    "9999 years ago",
    "May",
    "7",
    "2023",
    ",",
    ".",
    "we went",
    "will",
    "next Christmas",
    "the day after tomorrow",
    "on the 31st",
    "last",
    "Sunday",
    "in March",
    "’s",
    "summer",
    "of",
    "ago",
    "7. Juni 2023",
    "the 90s",
    "over the weekend",
    "this",
    "2023-02-30",
    "31/12/9999",
]
_REFERENCES = st.one_of(
    st.datetimes(),
    st.sampled_from([datetime.min, datetime.max, datetime(2024, 2, 29), datetime(9999, 12, 31), datetime(1, 1, 1)]),
)


@given(st.lists(st.sampled_from(_PIECES), max_size=8).map(" ".join) | st.text(max_size=60), _REFERENCES)
def test_offsets_are_right_and_annotation_is_idempotent(text: str, reference: datetime) -> None:
    found = find_time_expressions(text, reference=reference)
    for expression in found:
        assert text[expression.start : expression.end] == expression.text
        assert expression.begin < expression.finish
    assert all(one.end <= other.start for one, other in pairwise(found))
    once = make_absolute(text, reference=reference)
    assert make_absolute(once, reference=reference) == once
