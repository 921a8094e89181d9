"""The stories of tests/stories, played to the local policy: whether memory changes its mind when people do."""

from __future__ import annotations

import pytest

from benchmarks.stories import KNOWN_FAILURES_FILE, read_known_failures
from tests.conftest import ApiClient
from tests.stories import harness

MIN_SHARE = 0.85
STORIES = [*harness.load_stories(harness.DEV), *harness.load_stories(harness.SECOND)]
KNOWN_FAILURES = read_known_failures()


@pytest.mark.parametrize("story", STORIES, ids=lambda story: f"{story.kind}/{story.name}")
def test_it_remembers_a_story_as_a_careful_reader_would(story: harness.Story, client: ApiClient) -> None:
    failures = harness.run(story, client)
    if story.name in KNOWN_FAILURES:
        assert failures, f"{story.name} no longer fails: take it off the list in {KNOWN_FAILURES_FILE.name}"
        pytest.xfail("; ".join(map(str, failures)))
    assert not failures, "\n".join(map(str, failures))


def test_it_lists_as_failing_only_stories_that_exist() -> None:
    assert set(KNOWN_FAILURES) <= {story.name for story in STORIES}


def test_it_remembers_enough_stories() -> None:
    """Each story's own test sees to it that the list is in step."""
    share = 1 - len(KNOWN_FAILURES) / len(STORIES)
    assert share >= MIN_SHARE, f"{share:.1%} of {len(STORIES)} stories"


# The harness itself


def told(*texts: str, checks: list[dict[str, object]]) -> harness.Story:
    messages = [{"at": f"2024-05-{day:02}", "speaker": "Ann", "text": text} for day, text in enumerate(texts, start=1)]
    return harness.parse_story({"name": "told", "kind": "k", "messages": messages, "checks": checks})


@pytest.mark.parametrize(
    ("check", "reason"),
    [
        ({"type": "current", "words": ["Bergen"]}, "current are ['Ann lives in Oslo']"),
        ({"type": "not_current", "words": ["Ann", "lives in|moved to"]}, "still current: ['Ann lives in Oslo']"),
        ({"type": "past", "words": ["Oslo"]}, "superseded are []"),
        ({"type": "as_of", "date": "2024-06-01", "contains": [["Bergen"]]}, "['Bergen'] missing"),
        ({"type": "as_of", "date": "2024-06-01", "not_contains": [["Oslo"]]}, "as of then: ['Ann lives in Oslo']"),
        ({"type": "finds", "question": "Where does Ann live?", "words": ["Bergen"]}, "found ["),
        ({"type": "count", "words": ["Oslo"], "equals": 2}, "1: ['Ann lives in Oslo']"),
        ({"type": "no_fact", "words": ["Ann", "Oslo"]}, "remembered: ['Ann lives in Oslo']"),
    ],
    ids=lambda value: value["type"] if isinstance(value, dict) else "",
)
def test_a_check_that_does_not_hold_says_why(client: ApiClient, check: dict[str, object], reason: str) -> None:
    [failure] = harness.run(told("I live in Oslo.", checks=[check]), client)
    assert failure.check == check and failure.reason.startswith(reason)


def test_a_check_tells_two_users_apart(client: ApiClient) -> None:
    checks = [{"type": "current", "user": "b", "words": ["Oslo"]}]
    [failure] = harness.run(told("I live in Oslo.", checks=checks), client)
    assert failure.reason == "current are []"


@pytest.mark.parametrize(
    ("text", "words", "expected"),
    [
        ("Ann lives in Oslo", ["ann", "LIVES IN|moved to", "oslo"], True),
        ("Ann  lives\nin Oslo", ["lives in"], True),
        ("Ann’s e-mail is ann@example.org", ["ann's", "ann@example.org"], True),
        ("Hannah lives in Oslo", ["Hanna"], False),
        ("Hannah lives in Oslo", ["Hanna*"], True),
        ("Ann doesn’t smoke", ["n't", "smok*"], True),
        ("Ann is 10", ["1"], False),
        ("Zoë is from Pécs", ["zoë", "pécs"], True),
    ],
)
def test_words_are_matched_whole(text: str, words: list[str], expected: bool) -> None:
    assert harness.matches(text, words) is expected


def test_a_story_with_an_unknown_check_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown check 'guess'; known are current, not_current"):
        told("I live in Oslo.", checks=[{"type": "guess"}])
