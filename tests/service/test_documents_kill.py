"""kill -9 of the worker in the middle of a document: the next one goes on, and nothing is there twice."""

from __future__ import annotations

import io
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from tests.serving import Service

pytestmark = pytest.mark.slow

NUM_PAGES = 60
TIMEOUT_S = 240


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Service]:
    service = Service(tmp_path / "data")
    try:
        yield service.start()
    finally:
        service.end()


def make_pdf() -> bytes:
    from reportlab.pdfgen.canvas import Canvas

    buffer = io.BytesIO()
    canvas = Canvas(buffer)
    for page in range(NUM_PAGES):
        for line in range(30):
            number = 100 * page + line
            canvas.drawString(40, 800 - 20 * line, f"Entry {number}: ship {number * 7919} left pier {number} at dawn.")
        canvas.showPage()
    canvas.save()
    return buffer.getvalue()


def test_it_goes_on_with_a_document_after_kill_9(own: Service) -> None:
    sent = requests.post(
        f"{own.url}/v1/documents/",
        files={"file": ("log.pdf", make_pdf(), "application/pdf")},
        data={"user_id": "ann", "options": '{"max_tokens": 48}'},
        headers={"Authorization": f"Token {own.api_key}"},
        timeout=60,
    ).json()
    path = f"/v1/documents/{sent['id']}/"
    before = wait_for(own, path, lambda found: (found["progress"] or {}).get("chunks", {}).get("done", 0) > 0)
    assert before["state"] in ("PENDING", "RUNNING")
    kill_worker(own)
    done = wait_for(own, path, lambda found: found["progress"] is None)
    assert (done["state"], done["error"], done["num_pages"]) == ("SUCCEEDED", None, NUM_PAGES)
    assert own.told().count("worker ended (exit status -9)") == 1
    chunks = every_chunk(own, path)
    assert len(chunks) == done["num_chunks"] == done["num_embedded"] + done["num_reused"]
    whole = own.call("GET", f"{path}content/").json["text"]
    assert "".join(chunk["text"] for chunk in chunks) == whole
    assert whole.count("Entry ") == 30 * NUM_PAGES
    hits = own.call(
        "POST",
        "/v3/memories/search/",
        {"query": "Entry 4217", "filters": {"user_id": "ann"}, "include": ["documents"]},
    ).json["results"]
    assert "Entry 4217" in hits[0]["memory"]
    assert hits[0]["page_start"] == 43


def wait_for(service: Service, path: str, holds: Any) -> dict[str, Any]:
    end = time.monotonic() + TIMEOUT_S
    while True:
        found: dict[str, Any] = service.call("GET", path).json
        if holds(found):
            return found
        assert time.monotonic() < end, found
        assert found["state"] != "FAILED", found
        time.sleep(0.02)


def kill_worker(service: Service) -> None:
    worker = service.child("celery", "worker")
    assert worker is not None, service.told()
    assert os.getpgid(worker.pid) == worker.pid
    os.killpg(worker.pid, signal.SIGKILL)
    psutil.wait_procs([worker], timeout=10)


def every_chunk(service: Service, path: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    page = 1
    while True:
        answer = service.call("GET", f"{path}chunks/", page=page, page_size=200).json
        found += answer["results"]
        if not answer["next"]:
            return found
        page += 1
