"""Plays a story with a language model that is never wrong: it answers with the story's `ideal` facts and operations.

An ideal fact: message (its index), id, text, and where wanted quote (else the whole message), kind, valid_at, and one
of ends, updates, same: the id of the fact that it closes, rewrites, or says again. What then still fails is ours.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.scripted_llm import Reply, ScriptedLLM, Status, asked_for

from .harness import Api, Failure, Played, Said, Story, failures_of, play, user_id_of

OPERATIONS = {"ends": "INVALIDATE", "updates": "UPDATE", "same": "NONE"}


class IdealModel:
    """Answers extraction and consolidation calls from the story; whatever it cannot answer is in `faults`."""

    def __init__(self, story: Story) -> None:
        self.story = story
        self.facts = {fact["id"]: fact for fact in story.ideal}
        self.told: dict[str, dict[str, Any]] = {}  # by text, as last extracted: two facts may have one text
        self.faults: list[str] = []

    def __call__(self, request: dict[str, Any]) -> Reply:
        prompt = request["messages"][-1]["content"]
        if asked_for(request) == "Facts":
            return self._extract(_lines(prompt, "NEW MESSAGES"))
        if asked_for(request) == "FactDecisions":
            return self._decide(_lines(prompt, "NEW FACTS"), _lines(prompt, "MEMORIES"))
        return Status(400, message=f"the ideal model has no answer of the shape {asked_for(request)!r}")

    def stored_text(self, fact_id: str) -> str:
        """Of the memory that stands for a fact: its own, or that of the fact it says again or rewrites."""
        fact = self.facts[fact_id]
        return self.stored_text(fact["same"]) if "same" in fact else str(fact["text"])

    def _extract(self, messages: list[dict[str, Any]]) -> dict[str, Any]:
        found: list[dict[str, Any]] = []
        for said in messages:
            index = self._index_of(said)
            for fact in (fact for fact in self.story.ideal if fact["message"] == index):
                self.told[fact["text"]] = fact
                shown = {name: fact[name] for name in ("text", "kind", "valid_at") if name in fact}
                quote = fact.get("quote", self.story.messages[fact["message"]].text)
                found.append({"kind": "semantic"} | shown | {"message": said["message"], "quote": quote})
        return {"facts": found}

    def _index_of(self, said: dict[str, Any]) -> int:
        for index, message in enumerate(self.story.messages):
            if (message.text, f"{message.at:%A, %Y-%m-%d %H:%M}") == (said["text"], said["date"]):
                return index
        self.faults.append(f"no message of the story is {said}")
        return -1

    def _decide(self, facts: list[dict[str, Any]], memories: list[dict[str, Any]]) -> dict[str, Any]:
        numbers = {memory["text"]: memory["memory"] for memory in memories}
        return {"decisions": [self._decision(self.told[fact["text"]], fact["fact"], numbers) for fact in facts]}

    def _decision(self, fact: dict[str, Any], number: int, numbers: dict[str, int]) -> dict[str, Any]:
        how = next((how for how in OPERATIONS if how in fact), None)
        if how is None:
            return {"fact": number, "operation": "ADD", "reason": "new"}
        wanted = self.stored_text(fact[how])
        if wanted not in numbers:
            self.faults.append(f"{fact['id']} {how} {fact[how]}, which was not among the memories near it")
            return {"fact": number, "operation": "ADD", "reason": "its memory was not shown"}
        text = fact["text"] if how == "updates" else None
        operation = OPERATIONS[how]
        return {"fact": number, "operation": operation, "target": numbers[wanted], "text": text, "reason": how}


def _lines(prompt: str, title: str) -> list[dict[str, Any]]:
    body = prompt.split(f"## {title}\n", 1)[1].split("\n\n## ", 1)[0]
    return [json.loads(line) for line in body.splitlines() if line.startswith("{")]


@contextmanager
def serve_ideal(story: Story, settings: Any) -> Iterator[IdealModel]:
    """The ideal model as LLM_MODEL of Django's settings while it lasts."""
    model, before = IdealModel(story), settings.ENV
    with ScriptedLLM(model) as server:
        changed = {"llm_model": "openai/scripted", "llm_api_base": server.base_url, "llm_api_key": "test"}
        settings.ENV = before.model_copy(update={**changed, "llm_timeout_s": 10.0})
        try:
            yield model
        finally:
            settings.ENV = before


def run_ideal(story: Story, api: Api, settings: Any) -> list[Failure]:
    """As harness.run, with the ideal model; also whether every fact of it is held, cites its message and closed what
    it ends."""
    with serve_ideal(story, settings) as model:
        played = play(story, api)
    reasons = [*model.faults, *(reason for fact in story.ideal if (reason := _not_held(played, model, fact)))]
    return [Failure({"type": "ideal"}, reason) for reason in reasons] + failures_of(played)


def _not_held(played: Played, model: IdealModel, fact: dict[str, Any]) -> str | None:
    from memory_service.models import Memory

    said: Said = played.story.messages[fact["message"]]
    rows = Memory.objects.filter(user_id=user_id_of(played.story, said.user), state__in=("live", "superseded"))
    cited = rows.filter(text=model.stored_text(fact["id"]), sources__message__content=said.text)
    if not cited.exists():
        return f"{fact['id']} ({fact['text']!r}) is no memory that cites {said.text!r}"
    if "ends" in fact:
        ended = rows.filter(text=model.stored_text(fact["ends"]), replaced_by__in=cited)
        if not ended.exists():
            return f"{fact['id']} did not close {fact['ends']}"
    return None
