"""The stories again, with a language model that is never wrong: what fails is operations, times or sources."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import ApiClient
from tests.stories import harness, scripted

STORIES = [*harness.load_stories(harness.DEV), *harness.load_stories(harness.SECOND)]


@pytest.mark.parametrize("story", STORIES, ids=lambda story: f"{story.kind}/{story.name}")
def test_it_does_what_an_ideal_model_decides(story: harness.Story, client: ApiClient, settings: Any) -> None:
    failures = scripted.run_ideal(story, client, settings)
    assert not failures, "\n".join(map(str, failures))


def test_it_is_told_when_the_ideal_is_not_held(client: ApiClient, settings: Any) -> None:
    said = {"at": "2024-05-01", "speaker": "Ann", "text": "I live in Oslo."}
    fact = {"message": 0, "id": "a", "text": "Ann robbed a bank in Bergen", "quote": "I live in Oslo"}
    story = harness.parse_story({"name": "n", "kind": "k", "messages": [said], "checks": [], "ideal": [fact]})
    [failure] = scripted.run_ideal(story, client, settings)
    assert "is no memory that cites 'I live in Oslo.'" in failure.reason
