"""/v1/documents/: sent as text or as a file, followed, read, edited, cut anew, switched, deleted, searched."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from memory_service.models import ApiKey, Document, DocumentContent, Passage, Project
from tests.conftest import ApiClient, Worker
from tests.serving import Answer

pytestmark = pytest.mark.django_db(transaction=True)

PATH = "/v1/documents/"
LEASE = """# Lease

## Rent

The rent of the flat in Bergen is 14,500 kroner a month, due on the fifth.

## Deposit

The deposit is three months of rent and lies in a blocked account at Sparebanken.

## Pets

Cats are welcome; a dog needs the landlord's written consent.
"""


def send(client: ApiClient, content: str = LEASE, *, user: str = "ann", **more: Any) -> Answer:
    return client.post(PATH, {"content": content, "media_type": "text/markdown", "user_id": user, **more})


def upload(
    client: ApiClient, raw: bytes, name: str, media_type: str = "application/octet-stream", **fields: str
) -> Answer:
    file = SimpleUploadedFile(name, raw, content_type=media_type)
    response = client._client.post(PATH, {"user_id": "ann", **fields, "file": file}, headers=client.headers)
    return Answer(response.status_code, json.loads(response.content))


def chunk_texts(client: ApiClient, document_id: str) -> list[str]:
    return [one["text"] for one in client.get(f"{PATH}{document_id}/chunks/?page_size=200").json["results"]]


def search(client: ApiClient, query: str, *, user: str = "ann", **more: Any) -> list[dict[str, Any]]:
    body = {"query": query, "filters": {"user_id": user}, "include": ["documents"], **more}
    answer = client.post("/v3/memories/search/", body)
    assert answer.status == 200, answer
    return list(answer.json["results"])


def pdf(*pages: str, title: str = "") -> bytes:
    from reportlab.pdfgen.canvas import Canvas

    buffer = io.BytesIO()
    canvas = Canvas(buffer)
    canvas.setTitle(title)
    for page in pages:
        for number, line in enumerate(page.split("\n")):
            canvas.drawString(50, 800 - 16 * number, line)
        canvas.showPage()
    canvas.save()
    return buffer.getvalue()


def docx_file(*paragraphs: tuple[str, str]) -> bytes:
    import docx

    document = docx.Document()
    for text, style in paragraphs:
        document.add_paragraph(text, style=style)
    buffer = io.BytesIO()
    document.save(buffer)
    return buffer.getvalue()


def test_it_keeps_a_text_and_finds_its_chunks(client: ApiClient) -> None:
    sent = send(client, metadata={"year": 2026}, options={"max_tokens": 32})
    assert sent.status == 200, sent
    made = sent.json
    assert (made["state"], made["title"], made["made"], made["metadata"]) == (
        "SUCCEEDED",
        "Lease",
        True,
        {"year": 2026},
    )
    assert made["num_chars"] == len(LEASE)
    assert made["num_chunks"] == made["num_embedded"] > 2
    assert "".join(chunk_texts(client, made["id"])) == LEASE
    best = search(client, "Which account does the deposit of three months lie in?")[0]
    assert best["type"] == "document_chunk"
    assert "three months of rent" in best["memory"]
    assert LEASE[best["start"] : best["end"]] == best["memory"]
    assert (best["document_id"], best["title"]) == (made["id"], "Lease")
    event = client.get(f"/v1/event/{made['event_id']}/").json
    assert (event["status"], event["results"][0]["document_id"]) == ("SUCCEEDED", made["id"])


def test_it_answers_before_it_reads(client: ApiClient, worker: Worker) -> None:
    worker.paused = True
    sent = send(client)
    assert (sent.status, sent.json["state"], sent.json["progress"]["stage"]) == (202, "PENDING", "waiting")
    worker.resume()
    found = client.get(f"{PATH}{sent.json['id']}/").json
    assert (found["state"], found["progress"]) == ("SUCCEEDED", None)


def test_it_reads_a_pdf_with_its_pages(client: ApiClient) -> None:
    raw = pdf("The ferry leaves at nine.", "The museum of Bergen\nopens at ten.", "Dinner is at seven.", title="Trip")
    sent = upload(client, raw, "trip.pdf", "application/pdf", options='{"max_tokens": 8}')
    assert sent.status == 200, sent
    assert (sent.json["num_pages"], sent.json["title"], sent.json["filename"]) == (3, "Trip", "trip.pdf")
    hit = search(client, "When does the museum open?")[0]
    assert (hit["page_start"], hit["page_end"]) == (2, 2)
    text = client.get(f"{PATH}{sent.json['id']}/content/?start={hit['start']}&end={hit['end']}").json["text"]
    assert text == hit["memory"]


def test_it_reads_docx_html_and_other_encodings(client: ApiClient) -> None:
    raw = docx_file(("Travel", "Heading 1"), ("Bring a passport.", "List Bullet"), ("Paid by card.", "Normal"))
    made = upload(client, raw, "plan.docx").json
    assert (
        client.get(f"{PATH}{made['id']}/content/").json["text"]
        == "# Travel\n\n- Bring a passport.\n\nPaid by card.\n\n"
    )
    page = "<html><head><title>Zoo</title><script>alert(1)</script></head><body><h2>Prices</h2><p>Adults &euro; 20"
    made = upload(client, page.encode(), "zoo.html").json
    assert (made["title"], made["media_type"]) == ("Zoo", "text/html")
    assert client.get(f"{PATH}{made['id']}/content/").json["text"] == "## Prices\n\nAdults € 20\n"
    latin = "Die Größe der Straße in Düsseldorf überrascht; schöne Grüße aus München.".encode("latin-1")
    made = upload(client, latin, "brief.txt", "text/plain").json
    assert client.get(f"{PATH}{made['id']}/content/").json["text"] == latin.decode("latin-1")


# The same document


def test_it_takes_the_same_document_for_the_same(client: ApiClient) -> None:
    first, again = send(client).json, send(client).json
    assert (again["id"], again["made"], again["changed"]) == (first["id"], False, False)
    assert Document.objects.count() == 1


def test_it_shares_what_two_users_send_and_nothing_else(client: ApiClient) -> None:
    ann = send(client, metadata={"secret": "ann's"}, title="Ann's lease").json
    ben = send(client, user="ben").json
    assert ann["id"] != ben["id"]
    assert (ben["num_embedded"], ben["num_reused"]) == (0, ann["num_chunks"])
    assert ben["metadata"] is None
    assert ben["title"] == "Lease"
    assert DocumentContent.objects.count() == 1
    hit = search(client, "Is a dog allowed?", user="ben")[0]
    assert (hit["document_id"], hit["user_id"], hit["metadata"]) == (ben["id"], "ben", None)
    assert search(client, "Is a dog allowed?", user="cleo") == []


def test_it_edits_the_document_of_a_source(client: ApiClient) -> None:
    first = send(client, source="https://example.org/lease").json
    changed = LEASE.replace("14,500", "15,900")
    again = send(client, changed, source="https://example.org/lease").json
    assert (again["id"], again["made"], again["changed"], again["version"]) == (first["id"], False, True, 2)
    assert "15,900" in search(client, "How much is the rent?")[0]["memory"]
    assert not any("14,500" in hit["memory"] for hit in search(client, "How much is the rent?"))


def test_it_embeds_what_an_edit_changed_and_no_more(client: ApiClient) -> None:
    paragraphs = [
        f"Chapter {i}. " + f"The keeper of lighthouse {i} writes about storm {i * 37}. " * 6 for i in range(80)
    ]
    made = send(client, "\n\n".join(paragraphs), options={"max_tokens": 120}).json
    paragraphs.insert(40, "A stranger came ashore at night and asked for bread, and nobody knew his name.")
    edited = client.put(
        f"{PATH}{made['id']}/", {"content": "\n\n".join(paragraphs), "media_type": "text/markdown"}
    ).json
    assert edited["num_embedded"] <= 4, edited
    assert edited["num_embedded"] + edited["num_reused"] == edited["num_chunks"]
    assert "stranger" in search(client, "Who came ashore at night?")[0]["memory"]


def test_it_changes_title_and_metadata_alone(client: ApiClient) -> None:
    made = send(client).json
    changed = client.call("PATCH", f"{PATH}{made['id']}/", {"title": "Flat", "metadata": {"a": 1}}).json
    assert (changed["title"], changed["metadata"], changed["version"]) == ("Flat", {"a": 1}, 1)
    assert search(client, "dog", filters={"user_id": "ann", "metadata": {"a": 1}})
    assert not search(client, "dog", filters={"user_id": "ann", "metadata": {"a": 2}})


# Chunkings


def test_it_cuts_anew_and_goes_back(client: ApiClient) -> None:
    made = send(client, options={"max_tokens": 64}).json
    other = client.post(f"{PATH}{made['id']}/rechunk/", {"strategy": "sentence", "options": {"max_tokens": 16}}).json
    assert (other["strategy"], other["version"]) == ("sentence", 1)
    assert other["num_chunks"] > made["num_chunks"]
    assert "".join(chunk_texts(client, made["id"])) == LEASE
    listed = client.get(f"{PATH}{made['id']}/chunkings/").json["results"]
    assert [(one["strategy"], one["state"]) for one in listed] == [("sentence", "serving"), ("auto", "retired")]
    back = client.post(f"{PATH}{made['id']}/chunkings/{listed[1]['id']}/switch/", {}).json
    assert (back["chunking_id"], back["num_chunks"]) == (made["chunking_id"], made["num_chunks"])
    assert search(client, "Is a dog allowed?")


@pytest.mark.parametrize(
    ("strategy", "options"),
    [
        ("fixed", {"max_tokens": 20}),
        ("sentence", {"max_tokens": 20}),
        ("markdown", {"max_tokens": 60}),
        ("code", {}),
        ("conversation", {}),
        ("hierarchical", {"inner": "sentence", "inner_options": {"max_tokens": 16}}),
        ("auto", {"max_tokens": 60}),
    ],
)
def test_it_cuts_by_every_strategy_of_text(client: ApiClient, strategy: str, options: dict[str, Any]) -> None:
    made = send(client, strategy=strategy, options=options)
    assert (made.status, made.json["state"]) == (200, "SUCCEEDED"), made
    chunks = client.get(f"{PATH}{made.json['id']}/chunks/").json["results"]
    assert "".join(chunk["text"] for chunk in chunks) == LEASE
    assert [chunk["ordinal"] for chunk in chunks] == list(range(len(chunks)))
    hit = search(client, "Is a dog allowed in the flat?")[0]
    assert "dog" in hit["memory"]
    if strategy in ("markdown", "auto"):
        assert hit["headings"] == ["Lease", "Pets"]


def test_it_cuts_a_converted_page_by_what_it_became(client: ApiClient) -> None:
    page = b"<title>Zoo</title><h1>Zoo</h1><h2>Prices</h2><p>Adults pay twenty.</p><h2>Hours</h2><p>Open at nine.</p>"
    made = upload(client, page, "zoo.html", strategy="auto", options='{"max_tokens": 16}').json
    assert made["state"] == "SUCCEEDED", made
    assert search(client, "When does it open?")[0]["headings"] == ["Zoo", "Hours"]


def test_it_goes_back_to_an_older_text(client: ApiClient) -> None:
    made = send(client).json
    client.put(f"{PATH}{made['id']}/", {"content": "Everything is different now."})
    back = client.post(f"{PATH}{made['id']}/chunkings/{made['chunking_id']}/switch/", {}).json
    assert (back["version"], back["sha256"]) == (1, made["sha256"])
    assert client.get(f"{PATH}{made['id']}/content/").json["text"] == LEASE
    assert [hit for hit in search(client, "Everything is different") if "different" in hit["memory"]] == []


# Deleting


def test_it_finds_a_deleted_document_no_more(client: ApiClient) -> None:
    made = send(client).json
    assert client.delete(f"{PATH}{made['id']}/").status == 200
    assert search(client, "Is a dog allowed?") == []
    assert client.get(f"{PATH}{made['id']}/").status == 404
    assert client.get(PATH).json["count"] == 0
    assert DocumentContent.objects.count() == 1  # nothing is destroyed
    again = send(client).json
    assert again["id"] != made["id"]
    assert again["num_embedded"] == 0


def test_it_destroys_what_a_forgotten_user_alone_had(client: ApiClient) -> None:
    send(client, title="Ann's")
    send(client, "Only Ann knows about the orchard behind the chapel.")
    send(client, user="ben")
    assert client.delete("/v2/entities/user/ann/").status in (200, 202, 204)
    assert DocumentContent.objects.count() == 1
    assert not Passage.objects.filter(text__contains="orchard").exists()
    assert search(client, "Is a dog allowed?", user="ben")
    assert client.delete("/v2/entities/user/ben/").status in (200, 202, 204)
    assert not Document.objects.exists()
    assert not DocumentContent.objects.exists()
    assert not Passage.objects.exists()


def test_it_forgets_the_documents_of_a_run(client: ApiClient) -> None:
    send(client, run_id="trip")
    kept = send(client, "Another text about boats.").json
    assert client.delete("/v2/entities/run/trip/").status in (200, 202, 204)
    assert [str(one.public_id) for one in Document.objects.all()] == [kept["id"]]
    assert search(client, "boats")


# Searching, contexts and answers


def test_it_searches_memories_alone_unless_it_is_asked(client: ApiClient) -> None:
    send(client)
    said = {"role": "user", "content": "My dog is called Fenris and the landlord knows."}
    client.post("/v3/memories/add/", {"messages": [said], "user_id": "ann"})
    plain = client.post("/v3/memories/search/", {"query": "dog", "filters": {"user_id": "ann"}}).json["results"]
    assert plain
    assert not any("document_id" in hit or "type" in hit for hit in plain)
    both = search(client, "dog and the landlord", include=["memories", "documents"])
    assert {hit["type"] for hit in both} == {"memory", "document_chunk"}
    scores = [hit["score"] for hit in both]
    assert scores == sorted(scores, reverse=True)


def test_it_puts_documents_into_contexts_with_their_places(client: ApiClient) -> None:
    upload(
        client, pdf("Nothing here.", "The deposit is three months of rent."), "lease.pdf", options='{"max_tokens": 20}'
    )
    asked = {"query": "How high is the deposit?", "filters": {"user_id": "ann"}}
    found = client.post("/v1/context/", asked).json
    item = next(one for one in found["items"] if one["type"] == "document_chunk")
    assert item["document"]["page_start"] == 2
    shown = found["text"][item["span"][0] : item["span"][1]]
    assert "lease.pdf (p. 2)" in shown
    assert "three months of rent" in shown
    without = client.post("/v1/context/", {**asked, "include": ["memories"]}).json
    assert without["items"] == []


@pytest.mark.parametrize("more", [{"focus": 2}, {"select": "mmr"}, {"select": "greedy", "max_tokens": 100}])
def test_it_refines_chunks_as_it_refines_memories(client: ApiClient, more: dict[str, Any]) -> None:
    send(client, options={"max_tokens": 32})
    assert "three months" in " ".join(hit["memory"] for hit in search(client, "How high is the deposit?", **more))


@pytest.mark.parametrize("more", [{"order": "stable", "session": "s"}, {"compress": "extractive", "max_tokens": 60}])
def test_it_shows_chunks_in_every_order(client: ApiClient, more: dict[str, Any]) -> None:
    send(client, options={"max_tokens": 32})
    asked = {"query": "Which account does the deposit lie in?", "filters": {"user_id": "ann"}, **more}
    for _ in range(2):
        found = client.post("/v1/context/", asked)
        assert found.status == 200, found
        assert {item["type"] for item in found.json["items"]} == {"document_chunk"}
        assert "Lease: " in found.json["text"]


def test_it_answers_from_documents_and_cites_them(client: ApiClient) -> None:
    made = send(client, options={"max_tokens": 32}).json
    answer = client.post("/v1/answers/", {"query": "How many months of rent is the deposit?", "user_id": "ann"}).json
    assert answer["citations"], answer
    cited = answer["citations"][0]
    assert (cited["document_id"], cited["kind"]) == (made["id"], "document_chunk")
    assert LEASE[cited["start"] : cited["end"]] == cited["sources"][0]["quote"]


def test_it_refuses_filters_that_documents_cannot_be_asked(client: ApiClient) -> None:
    send(client)
    filters = {"AND": [{"user_id": "ann"}, {"categories": {"in": ["home"]}}]}
    refused = client.post("/v3/memories/search/", {"query": "dog", "filters": filters, "include": ["documents"]})
    assert refused.status == 400
    assert "documents are found by" in refused.json["detail"]
    assert client.post("/v1/context/", {"query": "dog", "filters": filters}).status == 200


# Whose


def test_it_shows_nothing_to_another_project(client: ApiClient, stranger: ApiClient) -> None:
    made = send(client).json
    chunking = client.get(f"{PATH}{made['id']}/chunkings/").json["results"][0]["id"]
    for method, path, body in [
        ("GET", "", None),
        ("GET", "content/", None),
        ("GET", "chunks/", None),
        ("GET", "chunkings/", None),
        ("PUT", "", {"title": "mine"}),
        ("PATCH", "", {"content": "mine"}),
        ("POST", "rechunk/", {}),
        ("POST", f"chunkings/{chunking}/switch/", {}),
        ("DELETE", "", None),
    ]:
        answer = stranger.call(method, f"{PATH}{made['id']}/{path}", body)
        assert answer.status == 404, (method, path, answer)
    assert stranger.get(PATH).json["count"] == 0
    assert search(stranger, "Is a dog allowed?") == []
    theirs = send(stranger).json  # the same bytes: nothing is shared between projects
    assert theirs["num_embedded"] == theirs["num_chunks"]
    other = client.post(PATH, {"content": "Something else.", "user_id": "ann"}).json["id"]
    assert client.post(f"{PATH}{other}/chunkings/{chunking}/switch/", {}).status == 404


def test_it_lets_viewers_read_and_bound_keys_do_nothing(client: ApiClient, project: Project) -> None:
    made = send(client).json
    viewer = ApiClient(ApiKey.issue(project, role="viewer")[1])
    assert viewer.get(f"{PATH}{made['id']}/").status == 200
    assert search(viewer, "dog")
    assert send(viewer).status == 403
    assert viewer.delete(f"{PATH}{made['id']}/").status == 403
    bound = ApiClient(ApiKey.issue(project, bound_to={"user_id": "ann"})[1])
    assert bound.get(f"{PATH}{made['id']}/").status == 403
    assert ApiClient(None).get(PATH).status == 401


def test_it_lists_by_whose_and_what(client: ApiClient) -> None:
    lease = send(client, metadata={"kind": "lease"}).json
    boats = send(client, "A text about boats.", user="ben", title="Boats").json

    def ids(query: str) -> list[str]:
        return [one["id"] for one in client.get(f"{PATH}?{query}").json["results"]]

    assert ids("") == [boats["id"], lease["id"]]
    assert ids("user_id=ann") == [lease["id"]]
    assert ids("title=boat") == [boats["id"]]
    assert ids("state=FAILED") == []
    assert ids('filters={"metadata":{"kind":"lease"}}') == [lease["id"]]
    assert ids("page=2&page_size=1") == [lease["id"]]


# Hostile files and bad input


@pytest.mark.parametrize(
    ("raw", "name", "words"),
    [
        (pdf("A page.")[:400], "cut.pdf", "damaged or cut short"),
        (docx_file(("Text", "Normal"))[:900], "cut.docx", "damaged or cut short"),
        (b"\x00" * 50_000, "nul.txt", "not text"),
        (pdf(""), "blank.pdf", "no text"),
        (b"   \n\n ", "blank.txt", "no text"),
        (b"PK\x03\x04 this is not an archive at all", "fake.docx", "damaged or cut short"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_it_fails_a_bad_file_alone_with_a_sentence(client: ApiClient, raw: bytes, name: str, words: str) -> None:
    bad = upload(client, raw, name)
    assert (bad.status, bad.json["state"]) == (200, "FAILED"), bad
    assert words in bad.json["error"]
    assert client.get(f"/v1/event/{bad.json['event_id']}/").json["status"] == "FAILED"
    assert send(client).json["state"] == "SUCCEEDED"


@pytest.mark.parametrize(
    ("raw", "name", "media_type", "words"),
    [
        (b"\x89PNG\r\n\x1a\n123", "a.png", "image/png", "PNG"),
        (b"hello", "a.pdf", "application/pdf", "does not begin like one"),
        (b"%PDF-1.4 x", "a.html", "text/html", "it is a PDF"),
        (b"PK\x03\x04xxxx", "a.zip", "application/zip", "ZIP"),
        (b"hello", "a.bin", "video/mp4", "video/mp4"),
    ],
)
def test_it_refuses_other_kinds_of_files(client: ApiClient, raw: bytes, name: str, media_type: str, words: str) -> None:
    refused = upload(client, raw, name, media_type)
    assert refused.status == 415, refused
    assert words in refused.json["detail"]
    assert not Document.objects.exists()


NUL, SURROGATE = "a\x00b", "a\ud800b"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "there is no document"),
        ({"content": "x"}, "name whose document"),
        ({"content": "", "user_id": "ann"}, "content"),
        ({"content": 7.5, "user_id": ["ann"]}, "user_id"),
        ({"content": NUL, "user_id": "ann"}, "NUL"),
        ({"content": SURROGATE, "user_id": "ann"}, "surrogate"),
        ({"content": "x", "user_id": "ann", "media_type": "application/pdf"}, "as content"),
        ({"content": "x", "user_id": "ann", "strategy": "magic"}, "is not known"),
        ({"content": "x", "user_id": "ann", "strategy": 5}, "is not known"),
        ({"content": "x", "user_id": "ann", "options": {"max_tokens": -1}}, "max_tokens"),
        ({"content": "x", "user_id": "ann", "options": {"max_tokens": "many"}}, "max_tokens"),
        ({"content": "x", "user_id": "ann", "options": {"magic": 1}}, "magic"),
        ({"content": "x", "user_id": "ann", "options": [1]}, "options"),
        ({"content": "x", "user_id": "ann", "metadata": "no"}, "metadata"),
        ({"content": "x", "user_id": "u" * 300}, "user_id"),
        ({"content": "x", "user_id": "ann", "title": "t" * 501}, "title"),
        ({"content": "x", "user_id": "ann", "source": "s" * 2001}, "source"),
        ({"content": "x", "user_id": "ann", "wait_s": "NaN"}, "wait_s"),
        ([], "JSON object"),
    ],
)
def test_it_refuses_bad_bodies(client: ApiClient, body: Any, words: str) -> None:
    refused = client.post(PATH, body)
    assert refused.status == 400, refused
    assert words in refused.json["detail"], refused.json["detail"]
    assert not Document.objects.exists()


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "?page=0", None, 400),
        ("GET", "?page=99", None, 404),
        ("GET", "?state=odd", None, 400),
        ("GET", "?filters=[1]", None, 400),
        ("GET", '?filters={"categories":{"in":["a"]}}', None, 400),
        ("GET", "{id}/content/?start=-1", None, 400),
        ("GET", "{id}/content/?start=5&end=2", None, 400),
        ("GET", "{id}/content/?start=99999999999999999999", None, 400),
        ("GET", "{id}/chunks/?page_size=0", None, 400),
        ("PUT", "{id}/", {}, 400),
        ("PUT", "{id}/", {"strategy": "sentence"}, 400),
        ("PATCH", "{id}/", {"metadata": {"a": "\x00"}}, 400),
        ("POST", "{id}/rechunk/", {"strategy": "magic"}, 400),
        ("POST", "{id}/chunkings/00000000-0000-4000-8000-000000000000/switch/", {}, 404),
        ("GET", "00000000-0000-4000-8000-000000000000/", None, 404),
        ("GET", "not-an-id/", None, 404),
    ],
)
def test_it_refuses_bad_requests(client: ApiClient, method: str, path: str, body: Any, status: int) -> None:
    made = send(client).json
    answer = client.call(method, PATH + path.replace("{id}", made["id"]), body)
    assert answer.status == status, answer
    assert answer.json["detail"] == answer.json["error"]


def test_it_refuses_what_is_too_large(client: ApiClient, settings: Any) -> None:
    settings.ENV = settings.ENV.model_copy(update={"document_max_mb": 1})
    refused = upload(client, b"word " * 250_000, "long.txt", "text/plain")
    assert refused.status == 413, refused
    refused = upload(client, b"word " * 700_000, "longer.txt", "text/plain")
    assert (refused.status, refused.json["detail"]) == (413, "the document is over 1 MB: split it")
    settings.ENV = settings.ENV.model_copy(update={"document_max_chars": 5_000, "document_max_pages": 2})
    assert "5000" in upload(client, b"word " * 5_000, "long.txt", "text/plain").json["error"]
    assert "3 pages" in upload(client, pdf("a", "b", "c"), "long.pdf").json["error"]


def test_it_names_the_strategies(client: ApiClient) -> None:
    told = client.get(f"{PATH}strategies/").json
    assert told["default"] in {one["name"] for one in told["results"]}
