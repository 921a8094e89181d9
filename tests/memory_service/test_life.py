"""What ends in a life: births, recoveries, medicine, things replaced, couples, habits; in a table, with its guards."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from memory_service.extraction.local import extract_local
from memory_service.extraction.types import Candidate, SourceMessage

NOW = datetime(2024, 9, 10, 12, tzinfo=UTC)  # a Tuesday

Triple = tuple[str | None, str | None, str | None]


def extracted(content: str, *, before: str | None = None) -> list[Candidate]:
    context = [SourceMessage(0, "user", before, NOW - timedelta(hours=1), "Ann")] if before else []
    return extract_local([SourceMessage(1, "user", content, NOW, "Ann")], context=context).candidates


def told(content: str, polarity: str, *, before: str | None = None) -> set[Triple]:
    found = [c for c in extracted(content, before=before) if c.kind == "semantic" and c.polarity == polarity]
    return {(c.subject, c.attribute, c.value) for c in found}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("I have a broken arm.", ("Ann", "suffers from", "a broken arm")),
        ("I broke my arm last week.", ("Ann", "suffers from", "broken arm")),
        ("I have a red Volvo.", ("Ann", "has", "a red Volvo")),
        ("Our son Max was born last night!", ("Ann", "child", "Max")),
        ("Kim had her baby, a boy called Emil!", ("Kim", "child", "Emil")),
        ("My wife gave birth to a girl, Mia.", ("Ann's wife", "child", "Mia")),
        ("Kim works as a nurse now, did you know?", ("Kim", "works as", "nurse")),
        ("Tom and I are back together.", ("Ann", "partner", "Tom")),
        ("We have three cats: Tom, Kim and Lou.", ("Ann", "has", "cat Lou")),
        ("My doctor took me off metformin and put me on Ozempic.", ("Ann", "takes", "Ozempic")),
        ("I replaced my old Nokia with an iPhone.", ("Ann", "owns", "an iPhone")),
        ("I prefer tea to coffee.", ("Ann", "prefers", "tea")),
        ("I changed my mind, autumn is my favourite season.", ("Ann", "favourite season", "autumn")),
        ("You can reach me at ann@new.com.", ("Ann", "email", "ann@new.com")),
        ("I got a new phone number: 555 7777.", ("Ann", "phone number", "555 7777")),
        ("We celebrated Leo's tenth birthday on Saturday.", ("Leo", "age", "10")),
        ("Eva is in 4th grade now.", ("Eva", "grade", "4th grade")),
        ("On Tuesdays I go to choir.", ("Ann", "does regularly", "go to choir on Tuesdays")),
        ("Lea is my best friend now.", ("Ann", "best friend", "Lea")),
        ("We moved to 12 Oak Lane.", ("Ann", "address", "12 Oak Lane")),
        ("These days I live in York.", ("Ann", "lives in", "York")),
    ],
)
def test_it_reads_what_begins(content: str, expected: Triple) -> None:
    assert expected in told(content, "holds")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("My arm is healed.", ("Ann", "suffers from", "arm")),
        ("Cast is off!", ("Ann", "suffers from", "broken")),
        ("My migraines are gone.", ("Ann", "suffers from", "migraines")),
        ("I'm over the flu.", ("Ann", "suffers from", "flu")),
        ("Our baby girl Nour is here!", ("Ann", "is", "pregnant")),
        ("I drink green tea every morning now instead of coffee.", ("Ann", "does regularly", "coffee")),
        ("I don't go to the gym any more, my knee hates it.", ("Ann", "does regularly", "go to the gym")),
        ("I don't eat meat any more.", ("Ann", "does regularly", "meat")),
        ("I stopped going to yoga.", ("Ann", "does regularly", "yoga")),
        ("I never got round to the sailing course.", ("Ann", "plans", "sailing course")),
        ("We decided against buying the house.", ("Ann", "plans", "buying the house")),
        ("I have a boyfriend now, his name is Luca.", ("Ann", "marital status", "single")),
        ("My sister and Aki have split up.", ("Ann's sister", "partner", "Aki")),
        ("The engagement is off.", ("Ann", "marital status", "engaged")),
        ("Someone stole my bike last night.", ("Ann", "owns", "bike")),
        ("I gave my brother my old laptop.", ("Ann", "has", "laptop")),
        ("My doctor switched me: I take naproxen for my back now.", ("Ann", "takes", "Ann's back")),
        ("I'm not with Marco any more.", ("Ann", "partner", "Marco")),
    ],
)
def test_it_reads_what_ended(content: str, expected: Triple) -> None:
    assert expected in told(content, "ended")


@pytest.mark.parametrize(
    "content",
    [
        "Did my cast come off?",
        "If my cast came off I'd dance.",
        "In my novel, the cast came off.",
        "I wish my arm was healed.",
        "Maybe someone stole my bike.",
        "I had a son in a dream.",
        "We had her over for dinner.",
        "I gave birth to a new idea.",
        "She had a baby face.",
        "I'm on vacation.",
        "I'm off work today.",
        "I was put on hold.",
        "I dropped the kids at school.",
        "I left the bank at five.",
        "We were together all day.",
        "I don't understand Tom any more.",
        "Mikko lives in Oslo now, right?",
        "Is Anna a nurse now, did you know?",
        "I broke my phone.",
        "Imagine I was pregnant.",
        "My character gave birth to twins.",
        "The phone was sold out.",
        "Every Friday I wonder why.",
    ],
)
def test_it_reads_nothing(content: str) -> None:
    assert [c for c in extracted(content) if c.kind == "semantic"] == []


def test_her_name_is_that_of_the_sister_whose_name_was_given() -> None:
    before = "My sister's name is Anna."
    (found,) = [c for c in extracted("Sorry, autocorrect. Her name is actually Hanna.", before=before) if c.attribute]
    assert (found.subject, found.attribute, found.value, found.corrects) == ("Ann's sister", "name", "Hanna", True)


@pytest.mark.parametrize(
    ("content", "corrects"),
    [
        ("Actually, I live in Leeds.", True),
        ("Actually I moved to Leeds last month.", False),
        ("Actually, I quit.", False),
        ("I mean ten! Idris turned ten in June.", True),
    ],
)
def test_only_what_takes_something_back_is_a_correction(content: str, corrects: bool) -> None:
    assert {c.corrects for c in extracted(content) if c.attribute and not c.silent} == {corrects}


def test_a_turn_that_a_statement_stands_for_keeps_its_own_words() -> None:
    (found,) = [c for c in extracted("I live in Oslo since yesterday") if c.turn]
    assert found.utterance == "Ann: I live in Oslo since yesterday (9 September 2024)"


def test_employer_and_occupation_have_texts_of_their_own() -> None:
    texts = {c.attribute: c.text for c in extracted("I work as a nurse at the county hospital.")}
    assert texts == {"works at": "Ann works at the county hospital", "works as": "Ann works as a nurse"}
