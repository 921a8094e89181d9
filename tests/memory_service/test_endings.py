"""What ends by its cause, how somebody does a thing, and what must give nothing."""

from __future__ import annotations

import pytest

from memory_service.extraction.statements import find_statements
from memory_service.timeline import names
from tests.conftest import ApiClient
from tests.stories import harness

Told = tuple[str | None, str | None, str | None, str]


def told(text: str) -> list[Told]:
    """What is said aloud; silent ends are looked at through what they end."""
    return [(s.subject, s.attribute, s.value, s.polarity) for s in find_statements(text, speaker="Ann") if not s.silent]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I'm 52 since Monday", ("Ann", "age", "52", "holds")),
        ("Our puppy is eleven weeks old", ("Ann's puppy", "age", "eleven weeks old", "holds")),
        ("I work weekends now", ("Ann", "working hours", "weekends", "holds")),
        ("I'm on night shifts now", ("Ann", "working hours", "night shifts", "holds")),
        ("My dad takes his coffee black", ("Ann's dad", "takes coffee", "black", "holds")),
        ("I like my eggs poached now", ("Ann", "takes eggs", "poached", "holds")),
        ("Tom gave Rex to a farm", ("Tom", "has", "Rex", "ended")),
        ("My neighbour gave up her car", ("Ann's neighbour", "has", "car", "ended")),
        ("My flight lands at 18:20", ("the flight", "arrival time", "18:20", "holds")),
        ("The pharmacy closes at 6 pm", ("the pharmacy", "closing time", "6 pm", "holds")),
        ("I run five miles a day", ("Ann", "does regularly", "run five miles a day", "holds")),
        ("I swim every three days", ("Ann", "does regularly", "swim every three days", "holds")),
        ("I have a nasty rash", ("Ann", "suffers from", "a nasty rash", "holds")),
        ("My cholesterol is back to normal", ("Ann", "suffers from", "cholesterol", "ended")),
        ("I no longer need a cane", ("Ann", "uses", "cane", "ended")),
        ("We work for ourselves these days", ("Ann", "works at", "self-employed", "holds")),
        ("My son plays lacrosse", ("Ann's son", "plays", "lacrosse", "holds")),
        ("I turned down the job at Acme", ("Ann", "plans", "job at Acme", "ended")),
        ("The choir has disbanded", ("Ann", "does regularly", "choir", "ended")),
        ("Our chess club no longer meets", ("Ann", "does regularly", "chess club", "ended")),
        ("My sister is at university now", ("Ann's sister", "grade", "university", "holds")),
        ("Moved to Tartu three days ago", ("Ann", "lives in", "Tartu", "holds")),
        ("I'm coeliac", ("Ann", "is", "coeliac", "holds")),
    ],
)
def test_it_reads(text: str, expected: Told) -> None:
    assert told(text) == [expected]


@pytest.mark.parametrize(
    "text",
    [
        "Has the choir disbanded?",
        "If the choir has disbanded, I'll sing alone",
        "Tom said the choir has disbanded",
        "The shop closed at 6 today",
        "The war is over",
        "I gave up my seat",
        "I have a cold beer",
        "I have a day off",
        "I don't need help any more",
        "She plays hard to get",
        "Anna proposed a new schedule",
        "Maybe my flight lands at 18:20",
        "No more waiting, I am off",
        "I walk with my dog",
        "Let's play: I am a dragon and I live in a cave",
        "In this scenario I live in Rome",
        "Lisbon was great when I was a kid",
        "Just kidding, I turned the job at Acme down",
    ],
)
def test_it_gives_nothing(text: str) -> None:
    assert told(text) == []


def test_a_game_is_no_sport() -> None:
    assert told("Let's play tennis tomorrow. I live in Oslo.") == [("Ann", "lives in", "Oslo", "holds")]


def test_two_named_animals_are_two() -> None:
    assert told("I have a cat called Mora and a cat called Lima") == [
        ("Ann", "has", "a cat called Mora", "holds"),
        ("Ann", "has", "a cat called Lima", "holds"),
    ]


@pytest.mark.parametrize(
    ("said", "value", "meant"),
    [
        ("alcohol", "drink whisky on Fridays", True),
        ("meat", "chicken", True),
        ("fish", "salmon", True),
        ("whisky", "alcohol", False),
        ("alcohol", "green tea", False),
        ("alcohol wipes", "whisky", False),
    ],
)
def test_a_kind_names_its_members(said: str, value: str, meant: bool) -> None:
    assert names(said, value, loose=False) is meant


def current(client: ApiClient, *texts: str) -> str:
    """The facts that hold after the messages, a day apart, in one string."""
    messages = [{"at": f"2024-05-{day:02}", "speaker": "Ann", "text": text} for day, text in enumerate(texts, start=1)]
    check = {"type": "count", "words": ["Ann"], "equals": -1}
    [failure] = harness.run(
        harness.parse_story({"name": "t", "kind": "k", "messages": messages, "checks": [check]}), client
    )
    return failure.reason


@pytest.mark.parametrize(
    ("texts", "over"),
    [
        (("I work from home.", "I work in the office now."), "from home"),
        (("I'm studying law in Bonn.", "I finished law school!"), "law in Bonn"),
        (("We're planning to visit Peru in June.", "Peru was amazing."), "planning"),
        (("I go to a film club every week.", "The film club has folded."), "goes to a film club"),
        (("I have a boyfriend called Nils.", "Nils proposed to me! I'm engaged!"), "boyfriend"),
        (("I drink wine on Sundays.", "I don't drink alcohol any more."), "drinks wine"),
    ],
)
def test_what_came_later_ends_it(client: ApiClient, texts: tuple[str, ...], over: str) -> None:
    assert over in current(client, texts[0])
    assert over not in current(client, *texts)


def test_what_holds_as_well_ends_nothing(client: ApiClient) -> None:
    held = current(client, "I work at Acme.", "I work at Delta as well.")
    assert "Acme" in held and "Delta" in held
