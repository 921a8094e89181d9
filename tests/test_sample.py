"""The sample is complete, consistent, and answers its own questions."""

from __future__ import annotations

import pytest

from memory_service.sample import SAMPLE_QUESTIONS, load


def test_it_loads_two_stories_in_order() -> None:
    sessions = list(load())
    assert {session["user_id"] for session in sessions} == {"maya", "team-harbour"}
    assert sum(len(session["messages"]) for session in sessions) >= 170
    for user_id in ("maya", "team-harbour"):
        times = [session["timestamp"] for session in sessions if session["user_id"] == user_id]
        assert times == sorted(times)
        assert all(time.utcoffset() is not None for time in times)


def test_it_gives_every_message_its_own_id() -> None:
    messages = [message for session in load() for message in session["messages"]]
    assert len({message["id"] for message in messages}) == len(messages)
    for message in messages:
        assert message["role"] in ("user", "assistant")
        assert message["name"]
        assert message["content"]


@pytest.mark.parametrize(("user_id", "question", "words"), SAMPLE_QUESTIONS)
def test_it_can_answer(user_id: str, question: str, words: tuple[str, ...]) -> None:
    contents = [m["content"] for s in load() if s["user_id"] == user_id for m in s["messages"]]
    assert any(all(w.casefold() in c.casefold() for w in words) for c in contents), question
