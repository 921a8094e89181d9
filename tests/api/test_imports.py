"""Imports: a file's lines are kept, taken in once, told about one by one."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import CommandError, call_command

from memory_service import importing, platform_tasks, tasks
from memory_service.models import (
    Event,
    ImportJob,
    ImportLine,
    Memory,
    MemoryRevision,
    Message,
    Project,
    WebhookDelivery,
)
from tests.api.test_exports import lines as exported_lines
from tests.conftest import ApiClient, Worker

PLATFORM = {
    "count": 2,
    "next": None,
    "results": [
        {
            "id": "8f1c3a52-0000-4000-8000-000000000001",
            "memory": "Nora is allergic to walnuts",
            "user_id": "nora",
            "agent_id": None,
            "run_id": None,
            "hash": "abc",
            "metadata": {"source": "chat"},
            "categories": ["health"],
            "created_at": "2024-07-01T10:00:00-07:00",
            "updated_at": "2024-07-03T10:00:00-07:00",
            "expiration_date": None,
            "immutable": False,
        },
        {
            "id": "8f1c3a52-0000-4000-8000-000000000002",
            "memory": "Nora lives in Porto",
            "user_id": "nora",
            "created_at": "2024-08-01T10:00:00Z",
            "expiration_date": "2099-01-31",
            "history": [
                {"event": "ADD", "new_memory": "Nora lives in Braga", "created_at": "2024-05-01T10:00:00Z"},
                {
                    "event": "UPDATE",
                    "old_memory": "Nora lives in Braga",
                    "new_memory": "Nora lives in Porto",
                    "created_at": "2024-08-01T10:00:00Z",
                },
            ],
        },
    ],
}


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch, worker: Worker) -> None:
    """As the task does, in the test's own process."""

    def run(job: ImportJob) -> None:
        events, _ = importing.run_import(job.pk)
        for event in events:
            tasks.enqueue(event)

    monkeypatch.setattr(platform_tasks, "enqueue_import", run)


def post(client: ApiClient, body: Any) -> Any:
    answer = client.post("/v1/imports/", body)
    assert answer.status == 202, answer.json
    return answer.json


def upload(client: ApiClient, text: str | bytes, **fields: str) -> Any:
    file = SimpleUploadedFile("dump.jsonl", text if isinstance(text, bytes) else text.encode())
    response = client._client.post("/v1/imports/", {"file": file, **fields}, headers=client.headers)
    return response.status_code, json.loads(response.content)


def listed(client: ApiClient, user: str) -> list[dict[str, Any]]:
    return client.post("/v3/memories/", {"filters": {"user_id": user}, "show_expired": True}).json["results"]


# What is read


def test_it_takes_in_what_the_platform_lists(client: ApiClient) -> None:
    job = post(client, PLATFORM)
    assert job["status"] == "SUCCEEDED" and job["lines"] == {"pending": 0, "done": 2, "known": 0, "failed": 0}
    porto, walnuts = listed(client, "nora")
    assert walnuts["memory"] == "Nora is allergic to walnuts" and walnuts["categories"] == ["health"]
    assert walnuts["created_at"] == "2024-07-01T17:00:00+00:00" and walnuts["updated_at"] == "2024-07-03T17:00:00+00:00"
    assert walnuts["metadata"] == {"source": "chat", "origin_id": PLATFORM["results"][0]["id"]}
    assert porto["expiration_date"] == "2099-01-31"
    history = client.get(f"/v1/memories/{porto['id']}/history/").json
    assert [(h["event"], h["new_memory"], h["created_at"]) for h in history] == [
        ("ADD", "Nora lives in Braga", "2024-05-01T10:00:00+00:00"),
        ("UPDATE", "Nora lives in Porto", "2024-08-01T10:00:00+00:00"),
    ]
    hits = client.post("/v3/memories/search/", {"query": "What must she not eat?", "filters": {"user_id": "nora"}}).json
    assert hits["results"][0]["memory"] == "Nora is allergic to walnuts"


def test_it_changes_nothing_when_run_twice(client: ApiClient) -> None:
    lines = [
        {"messages": [{"role": "user", "content": "I have a parrot."}], "user_id": "emil"},
        {"messages": [{"role": "user", "content": "I have a parrot."}], "user_id": "emil"},
        {"text": "Emil lives in Ghent", "user_id": "emil"},
        *PLATFORM["results"],
    ]
    first = post(client, lines)
    before = [sorted(rows.objects.values_list("pk", flat=True)) for rows in (Memory, Message, Event, MemoryRevision)]
    assert first["lines"]["done"] == 5
    second = post(client, lines)
    assert second["lines"] == {"pending": 0, "done": 0, "known": 5, "failed": 0}
    assert before == [
        sorted(rows.objects.values_list("pk", flat=True)) for rows in (Memory, Message, Event, MemoryRevision)
    ]
    # What was deleted here is not brought back.
    gone = listed(client, "nora")[0]["id"]
    client.delete(f"/v1/memories/{gone}/")
    post(client, lines)
    assert gone not in [memory["id"] for memory in listed(client, "nora")]


def test_it_takes_in_messages_as_if_they_were_added(client: ApiClient, worker: Worker) -> None:
    job = post(
        client,
        {
            "memories": [
                {
                    "messages": [
                        {"role": "user", "name": "Ann", "content": "I am allergic to walnuts.", "id": "m1"},
                        {"role": "assistant", "content": "Noted."},
                    ],
                    "user_id": "ann",
                    "run_id": "monday",
                    "timestamp": "2024-03-04",
                    "metadata": {"from": "csv"},
                },
                {"role": "user", "content": "The boat leaves at nine.", "created_at": "2024-03-05T08:00:00Z"},
            ],
            "user_id": "bo",
        },
    )
    assert job["lines"]["done"] == 2
    assert Event.objects.filter(status="SUCCEEDED").count() == 2
    message = Message.objects.get(client_id="m1")
    assert message.said_at == datetime(2024, 3, 4, tzinfo=UTC) and message.session.run_id == "monday"
    assert any("allergic to walnuts" in memory["memory"] for memory in listed(client, "ann"))
    assert listed(client, "ann")[0]["metadata"] == {"from": "csv"}
    assert listed(client, "bo")[0]["created_at"] == "2024-03-05T08:00:00+00:00"


def test_it_reads_json_lines_lists_and_pretty_files(client: ApiClient) -> None:
    rows = [{"memory": f"Fact {i}.", "user_id": f"u{i}"} for i in range(3)]
    for i, text in enumerate(
        (
            "\n".join(json.dumps(row) for row in rows),
            "\r\n\r\n".join(json.dumps(row) for row in rows) + "\r\n",
            "\ufeff" + json.dumps(rows),
            json.dumps({"results": rows}, indent=2),
            json.dumps({"memories": rows}),
            '{"results": [\n{"memory": "Fact 0.", "user_id": "u0"}\n]}',
        )
    ):
        status, job = upload(client, text)
        assert status == 202 and job["source"] == "dump.jsonl", job
        assert job["lines"]["done" if i == 0 else "known"] == job["num_lines"] == (3 if i < 5 else 1)
    assert Memory.objects.count() == 3


def test_it_restores_an_export_of_its_own(client: ApiClient, stranger: ApiClient) -> None:
    client.post("/v3/memories/add/", {"messages": "I live in Porto.", "user_id": "nora", "run_id": "r1", "wait_s": 5})
    client.post("/v3/memories/add/", {"messages": "I moved to Lisbon.", "user_id": "nora", "wait_s": 5})
    Memory.objects.filter(state="superseded").update(invalid_at=datetime(2099, 1, 1, tzinfo=UTC))
    lines = exported_lines(client, {})
    status, job = upload(stranger, "\n".join(map(json.dumps, lines)))
    assert status == 202 and job["lines"]["done"] == job["num_lines"] == len(lines) - 2, job["errors"]
    again = exported_lines(stranger, {})

    def essence(line: dict[str, Any]) -> Any:
        kept = ("memory", "user_id", "run_id", "kind", "lifecycle_state", "created_at", "valid_at", "subject", "value")
        return json.dumps({k: line[k] for k in kept}, sort_keys=True), bool(line["replaced_by"])

    assert sorted(map(essence, again[1:-1])) == sorted(map(essence, lines[1:-1]))
    assert {line["metadata"]["origin_id"] for line in again[1:-1]} == {line["id"] for line in lines[1:-1]}
    assert any(bool(line["replaced_by"]) for line in again[1:-1])


# What cannot be read


BAD_LINES = [
    ("[1]", "expected an object, not list"),
    ('{"memory": "x", "user_id": "a"', "not JSON"),
    ('{"memory": "", "user_id": "a"}', "nothing to remember"),
    ('{"memory": 7, "user_id": "a"}', "nothing to remember"),
    ('{"memory": "no one"}', "nobody is named"),
    ('{"memory": "x", "user_id": 7}', "user_id must be a string"),
    ('{"memory": "x", "user_id": "a", "created_at": "yesterday"}', "created_at"),
    ('{"memory": "x", "user_id": "a", "created_at": 1720000000000}', "seconds since 1970"),
    ('{"memory": "x", "user_id": "a", "created_at": [1]}', "created_at"),
    ('{"memory": "x\\u0000", "user_id": "a"}', "NUL"),
    ('{"memory": "\\ud800", "user_id": "a"}', "surrogate"),
    ('{"memory": "x", "user_id": "a", "metadata": "m"}', "metadata must be an object"),
    ('{"memory": "x", "user_id": "a", "metadata": {"n": 1e999}}', "too large"),
    ('{"memory": "x", "user_id": "a", "metadata": {"n": NaN}}', "not a JSON value"),
    ('{"memory": "x", "user_id": "a", "categories": [1]}', "categories"),
    ('{"memory": "x", "user_id": "a", "kind": "magic"}', "kind="),
    ('{"memory": "x", "user_id": "a", "kind": ["magic"]}', "kind="),
    ('{"memory": "x", "user_id": "a", "lifecycle_state": {}, "history": 3}', "history"),
    ('{"memory": "x", "user_id": "a", "history": [{"event": "SING"}]}', "history[0].event"),
    ('{"memory": "x", "user_id": "a", "history": [3]}', "history[0]"),
    ('{"memory": "x", "user_id": "a", "history": [{"event": "ADD", "new_memory": 3}]}', "history[0].new_memory"),
    ('{"memory": "x", "user_id": "a", "expiration_date": "soon"}', "expiration_date"),
    ('{"memory": "' + "x" * 20_001 + '", "user_id": "a"}', "at most 20000"),
    ('{"messages": [], "user_id": "a"}', "non-empty list"),
    ('{"messages": {}, "user_id": "a"}', "non-empty list"),
    ('{"messages": [{"role": "wizard", "content": "x"}], "user_id": "a"}', "messages[0].role"),
    ('{"messages": [{"role": [], "content": "x"}], "user_id": "a"}', "messages[0].role"),
    ('{"messages": [{"role": "user", "content": 7}], "user_id": "a"}', "messages[0].content"),
    ('{"messages": ["x"], "user_id": "a"}', "messages[0] must be"),
    ('{"messages": [{"role": "user", "content": "x", "name": 7}], "user_id": "a"}', "messages[0].name"),
    ('{"messages": [{"role": "user", "content": "x"}], "user_id": "a", "filters": 7, "metadata": []}', ""),
]


def test_it_tells_of_each_bad_line_and_takes_in_the_good_ones(client: ApiClient) -> None:
    text = '{"memory": "first", "user_id": "a"}\n\n' + "\n".join(line for line, _ in BAD_LINES)
    text += '\n{"memory": "last", "user_id": "a"}\n'
    status, job = upload(client, text)
    assert status == 202 and job["status"] == "SUCCEEDED"
    errors = {}
    page = client.get(f"/v1/imports/{job['id']}/lines/?status=failed&page_size=200").json
    errors = {one["line"]: one["error"] for one in page["results"]}
    for number, (line, told) in enumerate(BAD_LINES, start=3):
        if told:
            assert told in errors.get(number, "taken in"), (number, line, errors.get(number))
    assert {memory["memory"] for memory in listed(client, "a")} >= {"first", "last"}
    assert job["errors"][0] == {"line": 3, "error": errors[3]}
    kept = [one["content"] for one in page["results"] if one["line"] == 7]
    assert kept == [{"memory": "no one"}]  # nothing is lost of what could be read


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"   \n",
        b"\xff\xfe\x00",
        b"[",
        b"7",
        b'"text"',
        b"null",
        b"[]",
        b"{}",
        b'{"results": 7}',
        b"hello",
        b"{" * 100_000,
    ],
)
def test_it_refuses_files_that_hold_nothing(client: ApiClient, text: bytes) -> None:
    status, answer = upload(client, text)
    assert status == 400 and answer["detail"] == answer["error"]
    assert ImportJob.objects.count() == 0


def test_it_refuses_odd_requests(client: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    for raw in (b"7", b"null", b'"x"', b"{", b"[]", b"{}", b'{"memories": "x"}', b'{"memories": [], "user_id": 7}'):
        assert client.call("POST", "/v1/imports/", raw=raw).status == 400, raw
    good = [{"memory": "x"}]
    for wrong in ({"user_id": 7}, {"user_id": ["a"]}, {"user_id": "x" * 300}, {"wait_s": "soon"}, {"wait_s": -1}):
        assert client.post("/v1/imports/", {"memories": good, **wrong}).status == 400, wrong
    assert upload(client, '{"memory": "x"}', user_id="a\x00")[0] == 400
    response = client._client.post("/v1/imports/", {"user_id": "a"}, headers=client.headers)
    assert response.status_code == 400 and "no file" in json.loads(response.content)["detail"]
    many = {f"f{i}": "x" for i in range(1500)}
    response = client._client.post("/v1/imports/", many, headers=client.headers)
    assert response.status_code == 400
    broken = client.call("POST", "/v1/imports/", raw=b"--x\r\nnonsense", Content_Type="multipart/form-data; boundary=x")
    assert broken.status == 400
    monkeypatch.setattr(importing, "MAX_FILE_BYTES", 10)
    assert upload(client, '{"memory": "x", "user_id": "a"}')[0] == 413
    monkeypatch.setattr(importing, "MAX_LINES", 1)
    assert client.post("/v1/imports/", [{"memory": "x"}, {"memory": "y"}]).status == 413
    assert client.get("/v1/imports/?page=0").status == client.get("/v1/imports/?page_size=x").status == 400
    assert ImportJob.objects.count() == 0


def test_it_tries_failed_lines_again(client: ApiClient) -> None:
    text = {"messages": [{"role": "user", "content": "One.", "id": "m1"}], "user_id": "a"}
    post(client, [text])
    job = post(client, [{"messages": [{"role": "user", "content": "Other words.", "id": "m1"}], "user_id": "a"}])
    assert job["lines"]["failed"] == 1 and "already in this session with other words" in job["errors"][0]["error"]
    client.delete("/v2/entities/user/a/")
    assert client.post(f"/v1/imports/{job['id']}/retry/", {}).json["lines"]["failed"] == 1  # forgotten with the user
    job = post(client, [{"memory": "x"}])
    assert job["lines"]["failed"] == 1
    ImportJob.objects.filter(public_id=job["id"]).update(defaults={"user_id": "b"})
    assert client.post(f"/v1/imports/{job['id']}/retry/", {}).json["lines"] == {
        "pending": 0, "done": 1, "known": 0, "failed": 0,
    }  # fmt: skip


# Whose it is, and its end


def test_it_stays_in_its_project(client: ApiClient, stranger: ApiClient) -> None:
    mine, theirs = post(client, PLATFORM), post(stranger, PLATFORM)
    assert theirs["lines"]["done"] == 2  # the same ids, and each project has its own of them
    assert {m["id"] for m in listed(client, "nora")}.isdisjoint(m["id"] for m in listed(stranger, "nora"))
    for path in ("", "lines/"):
        assert stranger.get(f"/v1/imports/{mine['id']}/{path}").status == 404
    assert stranger.post(f"/v1/imports/{mine['id']}/retry/", {}).status == 404
    assert [job["id"] for job in stranger.get("/v1/imports/").json["results"]] == [theirs["id"]]


def test_it_does_not_bring_back_who_is_forgotten(
    client: ApiClient, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform_tasks, "enqueue_import", lambda job: None)
    rows = [{"memory": "Nora's secret", "user_id": "nora"}, {"memory": "Emil's fact", "user_id": "emil"}]
    rows.append({"messages": [{"role": "user", "content": "Nora's words"}]})
    job_id = post(client, {"memories": rows, "user_id": "nora"})["id"]
    client.post("/v1/users/", {"user_id": "nora"})
    assert client.delete("/v2/entities/user/nora/").status == 200
    assert "Nora" not in str(list(ImportLine.objects.values_list("content", flat=True)))
    importing.run_import(ImportJob.objects.get(public_id=job_id).pk)
    assert listed(client, "nora") == [] and not Message.objects.exists()


def test_it_survives_a_worker_that_dies(client: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "BATCH", 1)
    monkeypatch.setattr(platform_tasks, "enqueue_import", lambda job: None)
    post(client, PLATFORM)
    job = ImportJob.objects.get()
    real = importing._write

    def die(*arguments: Any) -> None:
        monkeypatch.setattr(importing, "_write", real)
        raise OSError("the machine is gone")

    monkeypatch.setattr(importing, "_write", die)
    _, retry_at = importing.run_import(job.pk)
    job.refresh_from_db()
    assert retry_at is not None and job.status == "PENDING" and "the machine is gone" in job.error
    assert importing.progress(job)["pending"] == 2
    assert importing.run_import(job.pk) == ([], None)
    job.refresh_from_db()
    assert job.status == "SUCCEEDED" and importing.progress(job)["done"] == 2
    assert importing.run_import(job.pk) == ([], None)


def test_it_tells_no_webhook_of_what_is_old(client: ApiClient, project: Project) -> None:
    hooks = f"/api/v1/webhooks/projects/{project.public_id}/"
    client.post(hooks, {"url": "https://example.org/", "event_types": ["memory_add", "memory_update"]})
    post(client, PLATFORM)
    assert Memory.objects.count() == 2 and not WebhookDelivery.objects.exists()


# The command


def run(*arguments: str) -> tuple[str, str]:
    out, err = StringIO(), StringIO()
    try:
        call_command("import_memories", *arguments, stdout=out, stderr=err)
    except CommandError as exc:
        return out.getvalue(), err.getvalue() + str(exc)
    return out.getvalue(), err.getvalue()


def test_it_imports_by_command(client: ApiClient, project: Project, tmp_path: Path) -> None:
    file = tmp_path / "dump.json"
    file.write_text(json.dumps([{"memory": "Nora bakes."}, {"memory": "Nora rows."}]))
    told, failed = run(str(file), "--project", project.name, "--user-id", "nora")
    assert "2 imported, 0 known already, 0 with errors" in told and failed == ""
    assert len(listed(client, "nora")) == 2
    assert "2 known already" in run(str(file), "--project", str(project.public_id), "--user-id", "nora")[0]
    told, failed = run(str(file), "--project", project.name)
    assert "line 1: nobody is named" in failed and "2 lines were not imported" in failed
    assert "'x' is unknown; there are: Relocation" in run(str(file), "--project", "x")[1]
    assert "cannot be read: No such file" in run(str(tmp_path / "none"), "--project", project.name)[1]


def test_it_reads_a_file_object_to_its_end() -> None:
    assert list(importing.read_file(io.BytesIO(b'{"memory": "x"}'))) == [(1, {"memory": "x"})]
