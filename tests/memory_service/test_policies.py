"""What becomes of a candidate: by a scripted model, with what it may not do; and without a model."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from memory_service.errors import LLMUnavailable
from memory_service.extraction.types import Candidate, SourceMessage
from memory_service.llm import LLMConfig
from memory_service.policies import Neighbour, decide_local, decide_two_phase, extract_add_only, normalise
from tests.fakes import ScriptedLLM, Status, prompt_of


def candidate(text: str, kind: str = "semantic") -> Candidate:
    return Candidate(text=text, kind=kind, grounding=())


NEW = candidate("Ann lives in Bergen")
OLD = Neighbour(9001, "Ann lives in Oslo", 0.8, valid_at=datetime(2023, 4, 1, tzinfo=UTC))
TWIN = Neighbour(9002, "Ann's home is in Bergen", 0.93)


def decide(candidates, neighbours, *decisions):
    replies = [{"decisions": list(decisions)}] if decisions else []
    with ScriptedLLM(replies) as server:
        config = LLMConfig(model="openai/scripted", api_base=server.base_url, timeout_s=5)
        decided, usage = decide_two_phase(config, candidates, neighbours)
    return decided, usage, server.requests


def chosen(operation, target=None, text=None, *, fact=0, **fields):
    return {"fact": fact, "operation": operation, "target": target, "text": text, "reason": "so"} | fields


@pytest.mark.parametrize(
    ("answer", "operation", "target_id", "text"),
    [
        (chosen("ADD"), "ADD", None, None),
        (
            chosen("UPDATE", 0, "Ann lived in Oslo and in Bergen"),
            "UPDATE",
            9001,
            "Ann lived in Oslo and in Bergen",
        ),
        (chosen("INVALIDATE", 0), "INVALIDATE", 9001, None),
        (chosen("delete", 0), "INVALIDATE", 9001, None),
        (chosen("NONE", 0), "NONE", 9001, None),
        (chosen("NOOP"), "NONE", None, None),
        (chosen("UPDATE", 0, "ann lives in  Oslo."), "NONE", 9001, None),
        (chosen("ADD", 17, "ignored"), "ADD", None, None),
    ],
    ids=[
        "add",
        "update",
        "invalidate",
        "delete",
        "none",
        "noop",
        "update that changes nothing",
        "add's extras",
    ],
)
def test_it_takes_the_models_decision(answer, operation, target_id, text):
    [decision], usage, _ = decide([NEW], [[OLD]], answer)
    assert (decision.operation, decision.target_id, decision.text) == (operation, target_id, text)
    assert decision.candidate is NEW and decision.reason == "so" and decision.policy == "two_phase"
    assert [entry.purpose for entry in usage] == ["consolidate"]


def test_it_keeps_the_models_doubt():
    [decision], _, _ = decide([NEW], [[OLD]], chosen("INVALIDATE", 0, confidence=0.4))
    assert decision.confidence == 0.4


def test_it_shows_small_numbers_and_no_ids():
    both = [candidate("Ann lives in Bergen"), candidate("Ann has a boat")]
    answers = [chosen("NONE", 1), chosen("ADD", fact=1)]
    decided, _, requests = decide(both, [[OLD, TWIN], [OLD]], *answers)
    prompt = prompt_of(requests[0])
    assert "9001" not in prompt and "9002" not in prompt
    assert '{"memory": 0, "text": "Ann lives in Oslo", "date": "2023-04-01"}' in prompt
    assert '{"fact": 0, "text": "Ann lives in Bergen", "most_like": [0, 1]}' in prompt
    assert prompt.count('{"memory": ') == 2  # a neighbour of two facts is listed once
    assert decided[0].target_id == 9002 and len(requests) == 1


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (chosen("UPDATE", 5, "x"), "UPDATE of memory 5, which it was not shown"),
        (chosen("INVALIDATE", -1), "INVALIDATE of memory -1, which it was not shown"),
        (chosen("INVALIDATE", 9001), "INVALIDATE of memory 9001, which it was not shown"),
        (chosen("INVALIDATE"), "INVALIDATE of memory None, which it was not shown"),
        (chosen("NONE", 9001), "NONE of memory 9001, which it was not shown"),
        (chosen("MERGE", 0), "'MERGE', which is no operation"),
        (chosen("UPDATE", 0, "  "), "UPDATE without a text"),
        (chosen("ADD", fact=3), "gave no decision"),
    ],
)
@pytest.mark.parametrize(("near", "operation", "target_id"), [(OLD, "ADD", None), (TWIN, "NONE", 9002)])
def test_it_decides_by_similarity_what_the_model_may_not(answer, reason, near, operation, target_id):
    [decision], _, _ = decide([NEW], [[near]], answer)
    assert (decision.operation, decision.target_id, decision.text) == (operation, target_id, None)
    assert reason in decision.reason


@pytest.mark.parametrize(
    ("stored", "new", "merged", "why"),
    [
        (
            "User lives in Bergen",
            "User works at NASA",
            "User is a billionaire who owns NASA",
            "says billionair, own",
        ),
        ("Ann has 2 cats", "Ann has a dog", "Ann has 12 cats and a dog", "says 12"),
        ("Ann doesn't eat meat", "Ann eats eggs", "Ann eats meat and eggs", "denies what the two affirm"),
        ("Ann eats meat", "Ann eats eggs", "Ann doesn't eat meat", "denies what the two affirm"),
        ("Ann lives in Oslo", "Ann likes tea", "Ann has lived in Oslo since 2019", "says 2019"),
    ],
    ids=["invented", "number", "denial lost", "denial added", "date"],
)
def test_it_does_not_believe_an_update_that_neither_text_says(stored, new, merged, why):
    fact = candidate(new)
    [decision], _, _ = decide([fact], [[Neighbour(9001, stored, 0.95)]], chosen("UPDATE", 0, merged))
    assert (decision.operation, decision.candidate, decision.target_id, decision.text) == ("ADD", fact, None, None)
    assert "UPDATE of memory 9001 was not believed" in decision.reason and why in decision.reason


@pytest.mark.parametrize(
    ("stored", "new", "merged"),
    [
        ("User lives in Bergen", "User works at NASA", "User lives in Bergen and works at NASA"),
        ("User lives in Oslo", "User lives in Bergen", "User moved from Oslo to Bergen"),
        ("Ann has two cats", "Ann has a dog called Bo", "Ann has 2 cats and a dog, Bo"),
        ("Ann doesn't eat meat", "Ann never eats fish", "Ann doesn't eat meat or fish"),
        ("Ann doesn't eat meat", "Ann eats eggs", "Ann eats eggs but no meat"),
        ("Ann doesn't eat meat", "Ann doesn't eat meat or fish", "Ann does not eat fish or meat"),
        ("Ann lives in Oslo", "Ann likes tea", "Ann likes tea and has lived in Oslo since April 2023"),
    ],
)
def test_it_believes_an_update_that_joins_the_two_texts(stored, new, merged):
    near = Neighbour(9001, stored, 0.8, valid_at=datetime(2023, 4, 1, tzinfo=UTC))
    [decision], _, _ = decide([candidate(new)], [[near]], chosen("UPDATE", 0, merged))
    assert (decision.operation, decision.target_id, decision.text) == ("UPDATE", 9001, merged), decision.reason


def test_it_frees_the_memory_of_an_update_that_it_does_not_believe():
    both = [candidate("Ann has a boat"), candidate("Ann left Oslo")]
    answers = [chosen("UPDATE", 0, "Ann owns every harbour"), chosen("INVALIDATE", 0, fact=1)]
    decided, _, _ = decide(both, [[OLD], [OLD]], *answers)
    assert [decision.operation for decision in decided] == ["ADD", "INVALIDATE"]


def test_it_changes_a_memory_once_in_a_batch():
    both = [candidate("Ann lives in Bergen"), candidate("Ann left Oslo")]
    decided, _, _ = decide(both, [[OLD], [OLD]], chosen("INVALIDATE", 0), chosen("UPDATE", 0, "x", fact=1))
    assert [decision.operation for decision in decided] == ["INVALIDATE", "ADD"]
    assert "another fact changes already" in decided[1].reason


def test_it_reads_delete_and_add_of_one_fact_as_one_invalidation():
    decided, _, _ = decide([NEW], [[OLD]], chosen("ADD"), chosen("DELETE", 0))
    assert [(decision.operation, decision.target_id) for decision in decided] == [("INVALIDATE", 9001)]


def test_it_asks_nothing_without_candidates_or_neighbours():
    assert decide([], []) == ([], [], [])
    decided, usage, requests = decide([NEW, NEW], [[], []])
    assert [decision.operation for decision in decided] == ["ADD", "ADD"]
    assert not usage and not requests


def test_it_passes_on_that_the_model_is_unavailable():
    with ScriptedLLM([Status(429, retry_after="3")]) as server, pytest.raises(LLMUnavailable) as caught:
        decide_two_phase(LLMConfig("openai/scripted", server.base_url), [NEW], [[OLD]])
    assert caught.value.retry_after_s == 3


def test_it_rejects_neighbours_that_do_not_match():
    with pytest.raises(ValueError, match="neighbours has 0 lists for 1 candidates"):
        decide_local([NEW], [])


@pytest.mark.parametrize("text", ["Ann lives in Oslo", " ann  LIVES in Oslo. "])
@pytest.mark.parametrize("kind", ["semantic", "episodic"])
def test_it_knows_the_same_words_without_a_model(text, kind):
    [decision] = decide_local([candidate(text, kind)], [[TWIN, OLD]])
    assert (decision.operation, decision.target_id, decision.policy) == ("NONE", 9001, "local")


LONG = "Ann bought a used red bicycle with 21 gears from the shop by the harbour"


@pytest.mark.parametrize(
    ("text", "operation"),
    [
        (LONG.replace("bought a", "bought the"), "NONE"),
        (LONG.replace("gears", "gear"), "NONE"),
        (LONG.replace("21", "27"), "ADD"),
        (LONG.replace("bought", "never bought"), "ADD"),
        (LONG.replace("red", "tan"), "ADD"),
        ("From the shop by the harbour Ann bought a used red bicycle with 21 gears", "ADD"),
    ],
    ids=["article", "inflection", "number", "negation", "another word", "another order"],
)
def test_it_knows_like_words_only_where_nothing_differs_that_counts(text, operation):
    [decision] = decide_local([candidate(text)], [[Neighbour(7, LONG, 0.99)]])
    assert decision.operation == operation
    assert decision.target_id == (7 if operation == "NONE" else None)


def test_it_never_takes_one_person_for_another():
    [decision] = decide_local([candidate("Bob paid Ann")], [[Neighbour(7, "Ann paid Bob", 0.99)]])
    assert decision.operation == "ADD"


def test_it_keeps_episodes_that_are_only_alike():
    [decision] = decide_local([candidate(LONG + " there", "episodic")], [[Neighbour(7, LONG, 0.99)]])
    assert decision.operation == "ADD"


def test_it_normalises_without_touching_meaning():
    assert normalise("  Ann's  Dog!! ") == "ann's dog"
    assert normalise("Version 2.1") == "version 2.1"


def test_it_shows_the_add_only_extractor_the_nearest_memories():
    said = SourceMessage(1, "user", "I now live in Bergen", datetime(2024, 5, 8, tzinfo=UTC), "Ann")
    fact = {"text": "Ann now lives in Bergen", "message": 1, "quote": "live in Bergen"}
    invented = {"text": "Ann owns a boat", "message": 1, "quote": "I own a boat"}
    existing = [Neighbour(9100 + i, f"memory number {i}", i / 20) for i in range(12)]
    with ScriptedLLM([{"facts": [fact, invented]}]) as server:
        config = LLMConfig(model="openai/scripted", api_base=server.base_url)
        extraction = extract_add_only(
            config, [said], summary="Ann talks.", window=[], existing=existing, excludes="health"
        )
    prompt = prompt_of(server.requests[0])
    assert len(server.requests) == 1 and "Ann talks." in prompt and "health" in prompt
    assert "memory number 11" in prompt and '"memory number 1"' not in prompt and "9111" not in prompt
    assert [c.text for c in extraction.candidates] == ["Ann now lives in Bergen"]
    assert [c.text for c in extraction.quarantined] == ["Ann owns a boat"]
