"""The stories of tests/stories/dev, played to the local policy: whether memory changes its mind when people do."""

from __future__ import annotations

import pytest

from benchmarks.stories import KNOWN_FAILURES_FILE, read_known_failures
from tests.conftest import ApiClient
from tests.stories import harness

MIN_SHARE = 0.85
STORIES = harness.load_stories(harness.DEV)
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


@pytest.mark.xfail(strict=True, reason="the local policy closes nothing yet")
def test_it_remembers_enough_stories() -> None:
    """Each story's own test sees to it that the list is in step."""
    share = 1 - len(KNOWN_FAILURES) / len(STORIES)
    assert share >= MIN_SHARE, f"{share:.1%} of {len(STORIES)} stories"
