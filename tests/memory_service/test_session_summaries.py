"""Trees of summaries: the same tree however often it was cut short, within its limits, of nothing but what was said."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from memory_service import ingest, project_llm, session_summaries, tasks
from memory_service.errors import LLMUnavailable, TooSoon
from memory_service.extractive import num_words
from memory_service.ingest import AddRequest, EntityIds, NewMessage
from memory_service.models import Message, Project, Session, SummaryNode
from memory_service.session_summaries import (
    CHUNK_WORDS,
    MIN_NODE_WORDS,
    ask_within,
    chunk_messages,
    fan_out,
    level_limits,
    parse_lines,
    rebuild,
    render_lines,
)
from tests.conftest import ApiClient
from tests.llm import Start, scripted
from tests.scripted_llm import Status, prompt_of

__all__ = ["scripted"]

START = datetime(2025, 3, 1, 9, tzinfo=UTC)
PLACES = ["harbour", "market", "library", "station", "garden", "museum", "bakery"]


def talk(project: Project, num_messages: int, *, words: int = 60) -> Session:
    """A session of long turns, stored and not processed: summaries read messages alone."""
    messages = [NewMessage("user", turn(i, words), START + timedelta(hours=i), name="Ann") for i in range(num_messages)]
    event = ingest.record_add(project, AddRequest(messages, EntityIds(user_id="ann", run_id="archive"), infer=False))
    return Session.objects.select_related("scope__project").get(messages__event=event, messages__seq=0)


def turn(i: int, words: int) -> str:
    place, other = PLACES[i % len(PLACES)], PLACES[(i + 2) % len(PLACES)]
    said = f"On day {i} we walked from the {place} to the {other} with my sister Clara. "
    filler = f"The weather at the {place} was cold but the people were friendly and we talked for hours. "
    return (said + filler * 20)[: words * 6].rsplit(". ", 1)[0] + "."


def shorten(request: dict[str, Any]) -> dict[str, str]:
    """A model that does as it is told: about as many words as asked, from the material, ending in a stop."""
    prompt = prompt_of(request)
    asked = re.search(r"Keep about (\d+) of them", prompt)
    assert asked
    words = re.findall(r"[A-Za-z]+", prompt.split("## M")[-1].split("## SUMM")[-1])
    return {"summary": " ".join(words[-int(asked[1]) :]) + "."}


def shape(session: Session) -> list[tuple[Any, ...]]:
    rows = SummaryNode.objects.filter(session=session, workflow="hierarchical").order_by("level", "index")
    columns = ("level", "index", "first_seq", "last_seq", "text", "asked_words", "num_words", "method", "children_hash")
    return list(rows.values_list(*columns))


# The shape of a tree


@pytest.mark.parametrize("num_leaves", [1, 2, 7, 40, 1000, 100_000])
def test_it_comes_to_one_root_within_its_limit(num_leaves: int) -> None:
    limits = level_limits(num_leaves, 150)
    assert limits[-1] == 150 and limits == sorted(limits) and limits[0] >= MIN_NODE_WORDS
    left = num_leaves
    for limit in limits[:-1]:
        left = -(-left // fan_out(limit))
    assert left == 1


def test_it_cuts_messages_into_chunks_in_order(project: Project) -> None:
    session = talk(project, 60)
    chunks = list(chunk_messages(session))
    assert len(chunks) > 2
    said = [message.content for chunk in chunks for message in chunk.messages]
    assert said == [
        " ".join(text.split()) for text in session.messages.order_by("seq").values_list("content", flat=True)
    ]
    assert all(sum(num_words(m.content) for m in chunk.messages) <= CHUNK_WORDS for chunk in chunks)
    assert [c.first_seq for c in chunks[1:]] == [c.last_seq + 1 for c in chunks[:-1]]


def test_it_cuts_a_message_that_is_longer_than_a_chunk(project: Project) -> None:
    session = talk(project, 1)
    long = "word " * 5_000
    unspaced = "駅" * 30_000
    for content in (long, unspaced):
        Message.objects.filter(session=session).update(content=content)
        chunks = list(chunk_messages(session))
        assert len(chunks) > 2
        kept = "".join(message.content for chunk in chunks for message in chunk.messages)
        assert kept.replace(" ", "") == content.replace(" ", "")


# Without a model


def test_it_builds_a_tree_of_what_was_said(project: Project) -> None:
    session = talk(project, 400)
    built = rebuild(session)
    assert built.num_levels == 3 and built.num_computed == built.num_nodes
    for node in SummaryNode.objects.filter(session=session):
        assert node.method == "extractive" and 0 < node.num_words <= node.asked_words
    said = " ".join(session.messages.values_list("content", flat=True))
    for sentence in parse_lines(built.summary):
        assert sentence.text in said and sentence.label.startswith("Ann, ")
    session.refresh_from_db()
    assert (session.summary, session.summary_seq) == (built.summary, 399)
    before = shape(session)
    assert rebuild(session).num_computed == 0
    SummaryNode.objects.filter(session=session).delete()
    rebuild(session)
    assert shape(session) == before


def test_it_makes_only_what_is_new_when_a_session_grows(project: Project) -> None:
    session = talk(project, 100)
    first = rebuild(session)
    more = [NewMessage("user", turn(i, 60), START + timedelta(hours=i), name="Ann") for i in range(100, 110)]
    ingest.record_add(project, AddRequest(more, EntityIds(user_id="ann", run_id="archive"), infer=False))
    again = rebuild(session)
    assert 0 < again.num_computed < again.num_nodes and again.num_nodes >= first.num_nodes
    assert again.last_seq == 109


def test_it_leaves_out_what_was_withdrawn(project: Project) -> None:
    session = talk(project, 3)
    Message.objects.filter(session=session, seq=1).update(content="The secret is a zebra in the cellar.")
    rebuild(session)
    assert "zebra" in rebuild(session).summary
    Message.objects.filter(session=session, seq=1).update(withdrawn_at=START)
    assert "zebra" not in rebuild(session).summary
    assert not SummaryNode.objects.filter(text__contains="zebra").exists()


def test_it_takes_a_session_without_anything_to_say(project: Project) -> None:
    session = talk(project, 1)
    Message.objects.filter(session=session).update(content="Ok!")
    assert rebuild(session).summary == ""
    Message.objects.filter(session=session).update(withdrawn_at=START)
    assert rebuild(session).num_nodes == 0 and not SummaryNode.objects.exists()


def test_it_reads_back_the_lines_that_it_writes() -> None:
    text = "Ann, 2 March 2025: I moved. It rained.\nBob: Jones, 3 March 2025: Good: very good.\nNo label here."
    assert render_lines(parse_lines(text)) == text


# With a model


def test_it_builds_a_tree_with_a_model(project: Project, scripted: Start) -> None:
    server = scripted(shorten)
    session = talk(project, 120)
    built = rebuild(session, max_words=100)
    assert built.num_levels == 2 and built.notes == []
    nodes = list(SummaryNode.objects.filter(session=session, method="llm"))
    assert len(nodes) == len(server.requests) == built.num_nodes
    assert all(node.num_words <= limit for node in nodes for limit in [100 if node.level else 65])
    prompt = prompt_of(server.requests[0])
    assert re.search(r"The source has (\d+) words. Keep about (\d+) of them and delete about (\d+)", prompt)
    assert "## CONTEXT" not in prompt and "## CONTEXT" in prompt_of(server.requests[1])
    error = session_summaries.length_error(SummaryNode.objects.filter(session=session))
    assert error["num_nodes"] == built.num_nodes and error["mean_error"] == pytest.approx(0.0, abs=0.05)


@pytest.mark.parametrize("num_calls", [0, 1, 3, 6])
def test_it_goes_on_to_the_same_tree_after_a_crash(project: Project, scripted: Start, num_calls: int) -> None:
    asked: list[str] = []
    failing = True

    def sometimes(request: dict[str, Any]) -> Any:
        if failing and len(asked) == num_calls:
            return Status(503)
        asked.append(prompt_of(request))
        return shorten(request)

    scripted(sometimes)
    session = talk(project, 120)
    with pytest.raises(LLMUnavailable):
        rebuild(session)
    assert SummaryNode.objects.filter(session=session).count() == num_calls
    failing = False
    built = rebuild(session)
    assert built.num_computed == built.num_nodes - num_calls
    assert len(asked) == len(set(asked)) == built.num_nodes  # no node was computed twice
    resumed = shape(session)
    SummaryNode.objects.all().delete()
    rebuild(session)
    assert shape(session) == resumed


def test_it_does_without_a_model_that_refuses_and_mends_it_later(project: Project, scripted: Start) -> None:
    answers: list[Any] = [Status(401)]

    def refuses_first(request: dict[str, Any]) -> Any:
        return answers.pop() if answers else shorten(request)

    scripted(refuses_first)
    session = talk(project, 60)
    built = rebuild(session)
    assert len(built.notes) == 1 and "was made without the language model" in built.notes[0]
    assert SummaryNode.objects.get(session=session, level=0, index=0).method == "extractive"
    rebuild(session)
    assert not SummaryNode.objects.filter(session=session, method="extractive").exists()


@pytest.mark.parametrize(
    ("answers", "expected", "num_tries"),
    [
        (["One two three."], "One two three.", 1),
        (["This one ends in the middle of", "One two."], "One two.", 2),
        (["", "One two three."], "One two three.", 2),
        (["A b c. D e f g h i j k."] * 4, "A b c.", 4),
        (["a b c d e f g h i j k l m"] * 4, "a b c d e f", 4),
    ],
)
def test_it_asks_again_for_what_is_no_summary(
    scripted: Start, settings: Any, answers: list[str], expected: str, num_tries: int
) -> None:
    server = scripted([{"summary": text} for text in answers])
    config = project_llm.llm_config()
    assert config
    prompts: list[int] = []

    def prompt(keep: int) -> Any:
        prompts.append(keep)
        return [{"role": "user", "content": str(keep)}]

    assert ask_within(config, prompt, asked=6, limit=6) == (expected, num_tries)
    assert len(server.requests) == num_tries and prompts == sorted(prompts, reverse=True)


# Live sessions


def test_it_compresses_a_running_summary_that_overflows(project: Project, scripted: Start) -> None:
    long = " ".join(f"Ann saw harbour number {i} and liked it a lot." for i in range(60))
    server = scripted([{"summary": long}, {"summary": "Ann saw sixty harbours."}])
    session = talk(project, 12)
    session.messages.all()[0].event.__class__.objects.update(status="SUCCEEDED")
    tasks.refresh_summaries()
    session.refresh_from_db()
    assert session.summary == "Ann saw sixty harbours." and len(server.requests) == 2
    assert "delete about" in prompt_of(server.requests[1])
    live = SummaryNode.objects.get(session=session, workflow="incremental")
    assert (live.last_seq, live.method, live.num_words) == (11, "llm", 4)


# REST and command


def test_it_rebuilds_and_shows_a_tree_over_rest(client: ApiClient, stranger: ApiClient, project: Project) -> None:
    session = talk(project, 120)
    path = f"/v1/sessions/{session.public_id}/summary/"
    answer = client.post(path, {"max_words": 100})
    assert answer.status == 200
    event = client.get(f"/v1/event/{answer.json['event_id']}/").json
    assert (event["event_type"], event["status"]) == ("SUMMARY", "SUCCEEDED")
    assert event["results"][0]["levels"] == 2
    shown = client.get(path).json
    assert shown["summary"] == shown["root"]["text"] and shown["summarised_messages"] == 120
    assert [level["level"] for level in shown["levels"]] == [0, 1]
    assert shown["length_error"] == {
        "num_nodes": event["results"][0]["nodes"],
        "written_by_model": 0,
        "mean_length_error": None,
        "longer_than_asked": 0,
    }
    leaves = client.get(f"{path}?level=0&page_size=2").json
    assert len(leaves["results"]) == 2 and leaves["count"] == shown["levels"][0]["num_nodes"]
    assert stranger.get(path).status == stranger.post(path, {}).status == 404
    for body in ({"max_words": 10}, {"max_words": "many"}, {"max_words": 10**9}, []):
        assert client.post(path, body).status == 400
    assert client.get(f"{path}?level=-1").status == client.get(f"{path}?level=x").status == 400


def test_it_is_tried_again_when_another_holds_the_session(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    from contextlib import nullcontext

    monkeypatch.setattr(session_summaries, "advisory_lock", lambda kind, number: nullcontext(False))
    with pytest.raises(TooSoon, match="being summarised already"):
        rebuild(talk(project, 3))


def test_it_rebuilds_by_command_and_prints_the_length_error(project: Project, scripted: Start) -> None:
    scripted(shorten)
    session = talk(project, 60)
    out = StringIO()
    call_command("rebuild_summaries", session=str(session.public_id), project=project.name, stdout=out)
    assert f"session {session.public_id}:" in out.getvalue()
    assert re.search(r"length error: \d+\.\d % on average over \d+ summaries", out.getvalue())
    for wrong in ({"session": "nobody"}, {"project": "none"}, {"max_words": 1}):
        with pytest.raises(CommandError):
            call_command("rebuild_summaries", stdout=StringIO(), **wrong)


def test_it_disappears_with_its_user(client: ApiClient, project: Project) -> None:
    rebuild(talk(project, 60))
    assert SummaryNode.objects.exists()
    client.delete("/v2/entities/user/ann/")
    assert not SummaryNode.objects.exists() and not Session.objects.exists()
