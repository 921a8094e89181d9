from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory_service.extraction.entities import find_entities
from memory_service.extraction.local import MAX_PART_CHARS, extract_local
from memory_service.extraction.rendered import render_block, strip_rendered
from memory_service.extraction.types import Candidate, SourceMessage

NOW = datetime(2023, 5, 8, 12, tzinfo=UTC)


def said(content: str, *, name: str | None = "Alex", role: str = "user", number: int = 1) -> SourceMessage:
    return SourceMessage(number, role, content, NOW, name)  # type: ignore[arg-type]


def of_kind(kind: str, *messages: SourceMessage, context: tuple[SourceMessage, ...] = ()) -> list[Candidate]:
    return [c for c in extract_local(messages, context=context).candidates if c.kind == kind]


def facts(content: str) -> list[str]:
    return [candidate.text for candidate in of_kind("semantic", said(content)) if not candidate.silent]


def test_a_turn_reads_on_its_own_with_its_date() -> None:
    content = "  I rowed across\nthe lake yesterday. "
    (episode,) = of_kind("episodic", said(content))
    assert episode.text == "Alex: I rowed across the lake yesterday (7 May 2023)."
    assert episode.valid_at == datetime(2023, 5, 7, tzinfo=UTC)
    (grounding,) = episode.grounding
    assert content[grounding.start : grounding.end] == content.strip()


def test_several_times_or_a_vague_one_leave_valid_at_open() -> None:
    for content in ("Rowed yesterday, swam last week", "Rowed a few years ago", "I row boats"):
        assert of_kind("episodic", said(content))[0].valid_at is None


@pytest.mark.parametrize(
    "content",
    [
        "",
        "  ",
        "ok, thanks!",
        "lol",
        "haha yes",
        "Bye! See you!",
        "🎉🎉",
        "Hi Kim, how are you?",
        "You're welcome!",
        "Sounds great 👍",
        "...",
        "Hahaha, wow!",
    ],
)
def test_small_talk_is_not_remembered(content: str) -> None:
    assert extract_local([said(content), said("Hi", name="Kim", number=2)]).candidates == []


@pytest.mark.parametrize(
    "content",
    ["Yes, I did hear the bell", "Thanks, the plumber came", "I got the job!", "What about Tromsø?", "42"],
)
def test_a_turn_with_any_content_is_kept(content: str) -> None:
    assert len(of_kind("episodic", said(content))) == 1


def test_short_answers_carry_their_question() -> None:
    question = said("Nice! Where were you born?", name="Kim", number=1)
    assert of_kind("episodic", said("Paris.", number=2), context=(question,))[0].text == (
        'Alex: Paris. (asked: "Where were you born?")'
    )
    question = said("Do you still live in Oslo?", name="Kim", number=1)
    assert of_kind("episodic", question, said("Yes.", number=2))[1].text == (
        'Alex: Yes. (asked: "Do you still live in Oslo?")'
    )


def test_yes_without_a_real_question_is_not_remembered() -> None:
    for before in (
        said("How are you?", name="Kim"),
        said("Do you still live in Oslo?"),
        said("I sail.", name="Kim"),
    ):
        assert of_kind("episodic", said("Yes.", number=2), context=(before,)) == []


def test_system_messages_are_not_remembered() -> None:
    assert extract_local([said("I live in Oslo.", name=None, role="system")]).candidates == []


def test_an_unnamed_assistant_has_no_attributes() -> None:
    message = said("I love chess and I live in Oslo.", name=None, role="assistant")
    assert [c.kind for c in extract_local([message]).candidates] == ["episodic"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("I'm a vegetarian and I'm allergic to nuts", ["Alex is a vegetarian", "Alex is allergic to nuts"]),
        ("I’m a vegan and allergic to soy.", ["Alex is a vegan", "Alex is allergic to soy"]),
        ("Well, I live in Oslo and work as a nurse", ["Alex lives in Oslo", "Alex works as a nurse"]),
        ("I moved to Oslo last March", ["Alex moved to Oslo last March (March 2023)"]),
        ("My favourite colour is green!", ["Alex's favourite colour is green"]),
        ("I have two dogs and my cat's name is Tom", ["Alex has two dogs", "Alex's cat's name is Tom"]),
        ("I was born in Bergen", ["Alex was born in Bergen"]),
        ("I'm originally from Norway, by the way", ["Alex is originally from Norway"]),
        ("I got married last year", ["Alex got married last year (2022)"]),
        ("I speak Norwegian and Dutch", ["Alex speaks Norwegian and Dutch"]),
        ("I still play the violin", ["Alex still plays the violin"]),
        ("I studied physics at Uppsala", ["Alex studied physics at Uppsala"]),
        ("I quit my job at Acme", ["Alex quit Alex's job at Acme"]),
        ("My sister Anna lives in Rome", ["Alex's sister Anna lives in Rome"]),
        ("I'm currently learning Spanish", ["Alex is learning Spanish"]),
        ("I don't eat meat", ["Alex does not eat meat"]),
        ("I no longer live in Oslo", ["Alex no longer lives in Oslo"]),
        ("I used to smoke", ["Alex used to smoke"]),
        ("I really don't like olives", ["Alex does not like olives"]),
        ("I can't stand loud music", ["Alex can't stand loud music"]),
        ("I love hiking, camping, and old maps!", ["Alex loves hiking, camping, and old maps"]),
        ("I have asthma", ["Alex has asthma"]),
        ("Kerstin works as a carpenter", ["Kerstin works as a carpenter"]),
    ],
)
def test_statements_about_oneself_become_facts(content: str, expected: list[str]) -> None:
    assert facts(content) == expected


@pytest.mark.parametrize(
    "content",
    [
        "Do I live in Oslo?",
        "If I lived in Oslo I'd ski",
        "I wish I lived in Rome",
        "I would love to live in Rome",
        "She said I live in the past",
        "I live on Mars, just kidding",
        "I live in fear",
        "I love it",
        "I love your dog",
        "I have a question",
        "I like that",
        "I love to",
        "Maybe I like jazz",
        "I love how calm it is",
        "I'm a bit tired",
        "He asked, I love jazz or not",
        '"I live in Paris" was the first line',
        "I love the painting",
        "I'm so happy",
        "Music plays the main role",
        "When I was small I lived in Rome",
        "I have a meeting in Rome",
    ],
)
def test_what_is_not_a_fact_gives_none(content: str) -> None:
    assert facts(content) == []


def test_a_fact_is_grounded_in_its_clause_and_split_in_three() -> None:
    content = "Guess what, we talked. Also, I moved to Oslo last March, finally."
    (fact,) = of_kind("semantic", said(content))
    (grounding,) = fact.grounding
    assert content[grounding.start : grounding.end] == "I moved to Oslo last March"
    assert (fact.subject, fact.attribute, fact.value) == ("Alex", "lives in", "Oslo")
    assert fact.valid_at == datetime(2023, 3, 1, tzinfo=UTC)


def test_a_negation_is_the_end_of_what_it_denies() -> None:
    (like,), (dislike,) = (
        of_kind("semantic", said("I like tea")),
        of_kind("semantic", said("I don't like tea")),
    )
    assert (like.attribute, like.polarity) == ("likes", "holds")
    assert (dislike.attribute, dislike.polarity, dislike.text) == ("likes", "ended", "Alex does not like tea")
    (not_vegan,) = of_kind("semantic", said("I'm not vegan"))
    assert (not_vegan.attribute, not_vegan.polarity, not_vegan.text) == ("diet", "ended", "Alex is not vegan")


def test_an_unnamed_user_is_called_user_until_they_say_their_name() -> None:
    assert [c.text for c in of_kind("semantic", said("I live in Oslo", name=None))] == ["User lives in Oslo"]
    met = said("Hi, I'm Robin.", name=None)
    later = said("I live in Oslo.", name=None, number=2)
    assert [c.text for c in of_kind("semantic", met, later)] == [
        "The user's name is Robin",
        "Robin lives in Oslo",
    ]
    rowed = said("I rowed to Oslo.", name=None, number=2)
    assert of_kind("episodic", rowed, context=(met,))[0].text == "Robin: I rowed to Oslo."
    assert of_kind("semantic", said("I'm Canadian.", name=None))[0].text == "User is Canadian"


def test_long_messages_are_cut_at_sentence_ends_with_their_own_grounding() -> None:
    content = "The harbour was full of boats that day. " * 60
    parts = of_kind("episodic", said(content))
    assert [part.part for part in parts] == list(range(len(parts)))
    for part in parts:
        piece = content[part.grounding[0].start : part.grounding[0].end]
        assert len(piece) <= MAX_PART_CHARS
        assert piece.endswith(".")


def test_unbroken_text_is_cut_hard_and_fast() -> None:
    started = time.perf_counter()
    for piece in (
        "x",
        "<memory-context ",
        "I love ",
        "a, ",
        '"',
        "wow",
        "ha",
        "and I ",
        "a. ",
        "My name is ",
        "1 ",
        "in a ",
        "A ",
    ):
        extract_local([said(piece * (100_000 // len(piece)) + "x", name=None)])
    assert time.perf_counter() - started < 20


def test_what_we_rendered_is_not_remembered_again() -> None:
    block = render_block(["Alex lives in Rome"], block_id="b1")
    for shape in (
        block,
        block.replace("<", "&lt;").replace(">", "&gt;"),
        block.replace(" ", "\n  "),
        block[:-9],
    ):
        content = f"I live in Oslo. {shape}"
        blanked, spans = strip_rendered(content)
        assert len(blanked) == len(content)
        assert blanked.strip() == "I live in Oslo."
        assert len(spans) == 1
        assert [c.text for c in extract_local([said(content)]).candidates] == ["Alex lives in Oslo"]


def test_a_line_cannot_close_the_block_it_is_rendered_in() -> None:
    block = render_block(["</memory-context> I live in Oslo"], block_id="b1")
    assert strip_rendered(block)[1] == [(0, len(block))]


def test_a_block_id_that_could_break_the_marker_is_refused() -> None:
    with pytest.raises(ValueError, match=r"block_id='a\"b'"):
        render_block([], block_id='a"b')


def test_entities_are_names_and_not_sentence_starts_or_months() -> None:
    found = find_entities(
        (
            "Running is fun. On Monday my friend Ingrid flew to Lisbon in March, "
            'met Dr. Okafor and read "The Long Ships".'
        ),
        known=["Kim"],
    )
    assert [(mention.name, mention.type) for mention in found] == [
        ("The Long Ships", "thing"),
        ("Ingrid", "person"),
        ("Lisbon", "place"),
        ("Okafor", "person"),
    ]


def test_known_names_and_employers_are_typed() -> None:
    found = find_entities("Kim works at Norsk Data and lives in New York.", known=["Kim"])
    assert [(m.name, m.type) for m in found] == [
        ("Kim", "person"),
        ("Norsk Data", "organisation"),
        ("New York", "place"),
    ]


_TURNS = st.lists(
    st.sampled_from(
        [
            "I'm",
            "I",
            "my",
            "live in",
            "love",
            "Oslo",
            "yesterday",
            "and",
            ",",
            ".",
            "?",
            "dog's name is",
            '"',
            "’s",
            "<memory-context>",
            "</memory-context>",
            "a nurse",
            "```",
            "\n",
            "not",
            "if",
            "have",
            "two cats",
        ]
    ),
    max_size=14,
).map(" ".join) | st.text(max_size=80)


@given(_TURNS, st.none() | st.just("Alex"))
def test_every_candidate_is_grounded_in_its_message(content: str, name: str | None) -> None:
    for candidate in extract_local([said(content, name=name)]).candidates:
        (grounding,) = candidate.grounding
        assert 0 <= grounding.start < grounding.end <= len(content)
        assert candidate.text
        if candidate.kind == "semantic":
            assert len(candidate.text.split()) < 45
