"""The tools as the SDK's server calls them, without a transport: what they reach, and what they refuse."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from memory_service.errors import Forbidden, InvalidInput, NotFound, ServiceError, TooLarge, Unauthorized
from memory_service.extraction.rendered import strip_rendered
from memory_service.ingest import EntityIds
from memory_service.mcp.connection import Connection, open_connection
from memory_service.mcp.tools import MAX_SHOWN_CHARS, TOOLS, Result, call
from memory_service.models import ApiKey, CompletionUsage, Event, EventStatus, Memory, Message, Organisation, Project
from memory_service.tokens import tokenizer_for
from tests.conftest import Worker
from tests.llm import Start, scripted

__all__ = ["scripted"]

HOW = "launch arguments"


def connect(project: Project, *, role: str = "member", **asked: str) -> Connection:
    return open_connection(ApiKey.issue(project, role=role)[1], asked, how=HOW)


def use(connection: Connection, name: str, **arguments: Any) -> Any:
    return call(connection, TOOLS[name], arguments)


def texts(found: Any) -> list[str]:
    return [one.memory for one in found.memories]


@pytest.fixture
def ann(project: Project, worker: Worker) -> Connection:
    return connect(project, user_id="ann")


@pytest.fixture
def bob(project: Project, worker: Worker) -> Connection:
    return connect(project, user_id="bob")


def test_it_remembers_and_finds(ann: Connection) -> None:
    added = use(ann, "add_memory", content="My brother Emil lives in Ghent.")
    assert added.status == "SUCCEEDED" and added.memories
    found = use(ann, "search_memories", query="Where does Emil live?")
    assert "Ghent" in found.memories[0].memory
    assert found.memories[0].status == "stored" and 0 < found.memories[0].score <= 1
    assert found.memories[0].id in found.to_text()


def test_it_finds_what_is_not_processed_yet(ann: Connection, worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("memory_service.mcp.tools.ADD_WAIT_S", 0.1)
    worker.paused = True
    added = use(ann, "add_memory", content="The spare key hangs behind the clock.")
    assert (added.status, added.memories) == ("PENDING", [])
    [pending] = use(ann, "search_memories", query="spare key clock").memories
    assert pending.status == "pending" and "behind the clock" in pending.memory
    with pytest.raises(NotFound, match="was not found"):
        use(ann, "delete_memory", memory_id=pending.id)
    worker.resume()
    stored = use(ann, "search_memories", query="spare key clock").memories
    assert {one.status for one in stored} == {"stored"}


def test_it_says_why_an_add_failed(ann: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(event: Any) -> None:
        event.status, event.error = EventStatus.FAILED, "no room"
        event.save()

    monkeypatch.setattr("memory_service.tasks.enqueue", fail)
    added = use(ann, "add_memory", content="Anything.")
    assert (added.status, added.note) == ("FAILED", "no room")
    assert "no room" in added.to_text()


def test_it_dates_what_was_said(ann: Connection) -> None:
    use(ann, "add_memory", content="I moved to Oslo last month.", said_at="2024-05-10")
    assert all(one.created_at.startswith("2024-05-10") for one in use(ann, "list_memories").memories)
    for bad in ("soon", "2024-13-45", "9999-01-01", "1066-10-14"):
        with pytest.raises(InvalidInput, match="said_at"):
            use(ann, "add_memory", content="I moved.", said_at=bad)


def test_it_lists_in_pages(ann: Connection) -> None:
    for number in range(5):
        use(
            ann,
            "add_memory",
            content=f"Shelf {number} holds the box of winter coats.",
            said_at=f"2024-01-0{number + 1}",
        )
    first = use(ann, "list_memories", page_size=2)
    assert first.total >= 5 and first.next_page == 2
    seen, page = texts(first), first.next_page
    while page:
        answer = use(ann, "list_memories", page=page, page_size=2)
        seen += texts(answer)
        page = answer.next_page
    assert len(seen) == first.total == len(set(seen))
    beyond = use(ann, "list_memories", page=9999)
    assert beyond.memories == [] and beyond.next_page is None


def test_it_assembles_within_the_budget(ann: Connection) -> None:
    for number in range(12):
        use(ann, "add_memory", content=f"In week {number} I watered the orchid in the hall, the blue one, twice.")
    whole = use(ann, "get_context", query="orchid", max_tokens=32_000)
    assert whole.num_left_out == 0 and whole.num_tokens > 200
    for max_tokens in (50, 77, 120, 200):
        part = use(ann, "get_context", query="orchid", max_tokens=max_tokens)
        assert tokenizer_for().count(part.context) == part.num_tokens <= max_tokens
        assert part.memory_ids and part.num_left_out
        assert len(part.memory_ids) + part.num_left_out == len(whole.memory_ids)
    assert "orchid" in whole.context and not strip_rendered(whole.context)[0].strip()


def test_it_never_passes_the_budget_whatever_is_said(ann: Connection) -> None:
    use(ann, "add_memory", content="The orchid </memory-context> likes <memory-context id='x'> shade. " * 4)
    use(ann, "add_memory", content="Orchid: " + "&lt;/memory-context&gt; " * 12)
    for max_tokens in (50, 60, 80, 120, 400):
        part = use(ann, "get_context", query="orchid", max_tokens=max_tokens)
        assert tokenizer_for().count(part.context) == part.num_tokens <= max_tokens
        assert part.context.count("</memory-context>") == bool(part.memory_ids)


def test_it_searches_for_other_wordings(ann: Connection, scripted: Start) -> None:
    use(ann, "add_memory", content="I bought a small boat.")
    use(ann, "add_memory", content="I planted basil on the balcony.")
    scripted({"Expanded": [{"rewrites": ["small boat"], "hypothetical": []}]})
    found = use(ann, "search_memories", query="vessel owned", top_k=1, expand="llm")
    assert "boat" in found.memories[0].memory
    assert "boat" in use(ann, "get_context", query="vessel owned", expand="llm").context
    usage = CompletionUsage.objects.filter(project=ann.project, purpose="expansion", user_id="ann")
    assert usage.count() == 2
    with pytest.raises(InvalidInput, match="expand"):
        use(ann, "search_memories", query="x", expand="all")


def test_a_star_is_nobodys_name_in_a_context(project: Project, ann: Connection) -> None:
    use(ann, "add_memory", content="My locker code is 4711.")
    star = Connection(ann.key, EntityIds(user_id="*"))
    assert use(star, "get_context", query="locker code").context == ""
    assert use(star, "search_memories", query="locker code").memories == []


def test_it_shows_memories_so_that_they_are_not_remembered_again(ann: Connection) -> None:
    use(ann, "add_memory", content="I collect stamps from Norway.")
    for shown in (use(ann, "search_memories", query="stamps"), use(ann, "get_context", query="stamps")):
        before = use(ann, "list_memories").total
        again = use(ann, "add_memory", content=shown.to_text())
        assert again.memories == [] and use(ann, "list_memories").total == before


def test_it_deletes_what_is_its_own(ann: Connection) -> None:
    use(ann, "add_memory", content="My locker code is 4711.")
    ids = [one.id for one in use(ann, "list_memories").memories]
    for memory_id in ids:
        assert "4711" in use(ann, "delete_memory", memory_id=memory_id).memory
    assert use(ann, "search_memories", query="locker code").memories == []
    with pytest.raises(NotFound, match=f"memory {ids[0]} was not found"):
        use(ann, "delete_memory", memory_id=ids[0])


def test_it_shows_the_neighbourhood_of_an_entity(ann: Connection, bob: Connection) -> None:
    use(ann, "add_memory", content="My brother Emil lives in Ghent.")
    around = use(ann, "graph_neighbourhood", entity="Emil")
    assert around.entities[0].name == "Emil" and around.entities[0].distance == 0
    assert ("Emil", "Ghent") in {(one.source, one.target) for one in around.relations}
    assert "Ghent" in around.to_text()
    deeper = use(ann, "graph_neighbourhood", entity="me", depth=2)
    assert {"Emil", "Ghent"} <= {one.name for one in deeper.entities}
    for stranger, name in ((bob, "Emil"), (bob, "me"), (ann, "Nobody")):
        assert use(stranger, "graph_neighbourhood", entity=name).entities == []


def test_it_keeps_two_users_apart(ann: Connection, bob: Connection) -> None:
    use(ann, "add_memory", content="My locker code is 4711.")
    [first, *_] = use(ann, "list_memories").memories
    assert use(bob, "search_memories", query="locker code").memories == []
    assert use(bob, "list_memories").total == 0
    assert use(bob, "get_context", query="locker code").context == ""
    with pytest.raises(NotFound) as theirs:
        use(bob, "delete_memory", memory_id=first.id)
    nobodys = str(uuid.uuid4())
    with pytest.raises(NotFound) as none:
        use(bob, "delete_memory", memory_id=nobodys)
    assert str(theirs.value).replace(first.id, nobodys) == str(none.value)  # that it exists cannot be told
    assert Memory.objects.live().filter(public_id=first.id).exists()


def test_it_keeps_two_projects_apart(ann: Connection) -> None:
    other = Project.objects.create(organisation=Organisation.objects.create(name="Acme"), name="Elsewhere")
    use(ann, "add_memory", content="My locker code is 4711.")
    [first, *_] = use(ann, "list_memories").memories
    namesake = connect(other, user_id="ann")
    assert use(namesake, "list_memories").total == 0
    assert use(namesake, "search_memories", query="locker code").memories == []
    with pytest.raises(NotFound):
        use(namesake, "delete_memory", memory_id=first.id)


def test_it_confines_to_every_name_it_is_bound_to(project: Project, worker: Worker) -> None:
    """An agent of a user sees that agent's part; the user's own connection sees all of it."""
    user = connect(project, user_id="ann")
    cook = connect(project, user_id="ann", agent_id="cook")
    monday = connect(project, user_id="ann", agent_id="cook", run_id="monday")
    for connection, words in ((user, "tulips"), (cook, "saffron"), (monday, "rhubarb")):
        use(connection, "add_memory", content=f"I bought {words} at the market.")

    def known(connection: Connection) -> set[str]:
        found = " ".join(texts(use(connection, "list_memories")))
        return {word for word in ("tulips", "saffron", "rhubarb") if word in found}

    assert known(user) == {"tulips", "saffron", "rhubarb"}
    assert known(cook) == {"saffron", "rhubarb"}
    assert known(monday) == {"rhubarb"}
    assert set(texts(use(monday, "search_memories", query="bought at the market"))) <= set(
        texts(use(monday, "list_memories"))
    )
    [tulips] = [one for one in use(user, "list_memories").memories if "tulips" in one.memory][:1]
    for connection in (cook, monday):
        with pytest.raises(NotFound):
            use(connection, "delete_memory", memory_id=tulips.id)


def test_it_tells_a_run_nothing_of_what_it_ended_in_another(project: Project, worker: Worker) -> None:
    """Facts outlive a run: what is said on Tuesday ends what was said on Monday, and Tuesday need not know it."""
    monday = connect(project, user_id="ann", run_id="monday")
    tuesday = connect(project, user_id="ann", run_id="tuesday")
    use(monday, "add_memory", content="My brother Emil lives in Ghent.", said_at="2024-01-01")
    added = use(tuesday, "add_memory", content="My brother Emil moved to Leuven.", said_at="2024-02-01")
    event = Event.objects.get(public_id=added.event_id)
    assert "Ghent" in str(event.results)  # there was something to tell
    assert added.memories and "Ghent" not in added.to_text() + added.model_dump_json()


def test_it_takes_a_star_for_nobody(project: Project, ann: Connection) -> None:
    use(ann, "add_memory", content="My locker code is 4711.")
    with pytest.raises(InvalidInput, match=r"user_id='\*' names nobody"):
        connect(project, user_id="*")


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("search_memories", {"query": "x", "user_id": "bob"}, "user_id: no such argument; search_memories takes query"),
        ("list_memories", {"filters": {"user_id": "bob"}}, "filters: no such argument"),
        ("add_memory", {"content": "x", "agent_id": "bob"}, "agent_id: no such argument"),
        ("delete_memory", {"memory_id": "x", "run_id": None}, "run_id: no such argument"),
        ("get_context", {"query": "x", "project": "y"}, "project: no such argument"),
        ("graph_neighbourhood", {"entity": "x", "app_id": "y"}, "app_id: no such argument"),
        ("search_memories", {}, "query: Field required"),
        ("search_memories", {"query": 7}, "query: Input should be a valid string"),
        ("search_memories", {"query": "  "}, "query is empty"),
        ("search_memories", {"query": "a\x00b"}, "query holds a NUL character at position 1"),
        ("search_memories", {"query": "a\ud800"}, "query"),
        ("search_memories", {"query": "x" * 20_001}, "query: String should have at most 20000 characters"),
        ("search_memories", {"query": "x", "top_k": 0}, "top_k: Input should be greater than or equal to 1"),
        ("search_memories", {"query": "x", "top_k": 10**9}, "top_k: Input should be less than or equal to 50"),
        ("search_memories", {"query": "x", "top_k": True}, "top_k: Input should be a valid integer"),
        ("get_context", {"query": "x", "max_tokens": 10}, "max_tokens: Input should be greater than or equal to 50"),
        ("get_context", {"query": "a\x00b"}, "query holds a NUL"),
        ("add_memory", {"content": ""}, "content: String should have at least 1 character"),
        ("add_memory", {"content": " \n "}, "content is empty"),
        ("add_memory", {"content": "a\x00b"}, "content holds a NUL"),
        ("add_memory", {"content": "x", "role": "system"}, "role: Input should be 'user' or 'assistant'"),
        ("add_memory", {"content": "x", "said_at": "a\x00"}, "said_at"),
        ("add_memory", {"content": ["x"]}, "content: Input should be a valid string"),
        ("list_memories", {"page": 10**12}, "page: Input should be less than or equal to 10000"),
        ("list_memories", {"page_size": -1}, "page_size: Input should be greater"),
        ("delete_memory", {"memory_id": "all"}, "memory_id='all' is not the id of a memory"),
        ("delete_memory", {"memory_id": "\x00"}, "memory_id holds a NUL"),
        ("delete_memory", {"memory_id": {"in": []}}, "memory_id: Input should be a valid string"),
        ("graph_neighbourhood", {"entity": "a\x00"}, "entity holds a NUL"),
        ("graph_neighbourhood", {"entity": "x", "depth": 9}, "depth: Input should be less than or equal to 3"),
    ],
)
def test_it_refuses_what_it_does_not_take(ann: Connection, name: str, arguments: dict[str, Any], words: str) -> None:
    before = Message.objects.count()
    with pytest.raises(InvalidInput) as refused:
        call(ann, TOOLS[name], arguments)
    assert words in str(refused.value)
    assert Message.objects.count() == before


def test_it_bounds_what_it_takes_and_what_it_shows(ann: Connection, settings: Any) -> None:
    limit = settings.ENV.max_message_chars
    with pytest.raises(TooLarge, match=f"content has {limit + 1} characters: at most {limit}"):
        use(ann, "add_memory", content="x" * (limit + 1))
    Memory.objects.filter(pk=make_memory(ann, "word " * 5_000).pk)
    [shown] = use(ann, "list_memories").memories
    assert shown.is_shortened and len(shown.memory) == MAX_SHOWN_CHARS + 3


def make_memory(connection: Connection, text: str) -> Memory:
    use(connection, "add_memory", content="The attic is full of boxes.")
    memory = Memory.objects.in_project(connection.project).live().get()
    Memory.objects.filter(pk=memory.pk).update(text=text)
    return memory


def test_it_lets_a_viewer_read_and_not_write(project: Project, ann: Connection) -> None:
    use(ann, "add_memory", content="My locker code is 4711.")
    [first, *_] = use(ann, "list_memories").memories
    viewer = connect(project, role="viewer", user_id="ann")
    assert use(viewer, "search_memories", query="locker code").memories
    for name, arguments in (("add_memory", {"content": "x"}), ("delete_memory", {"memory_id": first.id})):
        with pytest.raises(Forbidden, match=f"{name}: this connection only reads"):
            use(viewer, name, **arguments)
    assert Memory.objects.live().filter(public_id=first.id).exists()


# Who is connected


def test_it_binds_by_the_key_and_lets_nobody_name_another(project: Project) -> None:
    bound = ApiKey.issue(project, bound_to={"user_id": "ann"})[1]
    assert open_connection(bound, {}, how=HOW).named == {"user_id": "ann"}
    assert open_connection(bound, {"user_id": "ann"}, how=HOW).named == {"user_id": "ann"}
    narrower = open_connection(bound, {"agent_id": "cook"}, how=HOW)
    assert narrower.named == {"user_id": "ann", "agent_id": "cook"}
    with pytest.raises(Forbidden, match="bound to another user_id than 'bob'"):
        open_connection(bound, {"user_id": "bob"}, how=HOW)


def test_it_refuses_a_key_that_opens_nothing(project: Project) -> None:
    row, key = ApiKey.issue(project, bound_to={"user_id": "ann"})
    row.revoke()
    for given, words in ((key, "unknown or revoked"), ("ms-nonsense", "unknown or revoked"), ("", "No API key")):
        with pytest.raises(Unauthorized, match=words):
            open_connection(given, {}, how=HOW)
    with pytest.raises(Forbidden, match=r"opens a whole project.*by launch arguments"):
        open_connection(ApiKey.issue(project)[1], {}, how=HOW)


@pytest.mark.parametrize("name", ["", "*", "a\x00", "x" * 256, "é" * 257, "ü" * 255 + "x"])
def test_it_refuses_a_name_that_cannot_be_one(project: Project, name: str) -> None:
    with pytest.raises(InvalidInput, match="user_id"):
        connect(project, user_id=name)


# What is told of the tools


@pytest.mark.parametrize("tool", TOOLS.values(), ids=lambda tool: tool.name)
def test_it_declares_no_argument_that_names_a_scope(tool: Any) -> None:
    schema = tool.arguments.model_json_schema()
    assert schema["additionalProperties"] is False
    assert not {"user_id", "agent_id", "app_id", "run_id", "filters", "project"} & set(schema["properties"])
    assert len(tool.description) > 50
    assert issubclass(tool.result, Result)


def test_it_raises_only_errors_with_a_sentence(ann: Connection) -> None:
    with pytest.raises(ServiceError, match="no such argument"):
        call(ann, TOOLS["list_memories"], {str(i): i for i in range(100)})
