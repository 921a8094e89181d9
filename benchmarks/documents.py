"""A long PDF on its way in: how long it takes, how far it is meanwhile, and how much memory it needs.

    python -m benchmarks.documents [--pages 1000] [--paragraphs 400] [--json FILE]

Starts a service on a temporary folder, sends a PDF that reportlab makes, asks for its progress until it is done, and
reads the peak resident memory of the worker and of the parser from the system. Then an insertion into a text of the
same size, and searches with and without documents.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import requests

from tests.serving import Service

LINES_A_PAGE = 40
NUM_SEARCHES = 40
POLL_S = 0.25
WORDS = (Path(__file__).resolve().parent.parent / "docs" / "architecture.md").read_text().split()


def make_pdf(num_pages: int) -> bytes:
    from reportlab.pdfgen.canvas import Canvas

    chosen = random.Random(7)
    buffer = io.BytesIO()
    canvas = Canvas(buffer)
    canvas.setTitle("A long report")
    for page in range(num_pages):
        for line in range(LINES_A_PAGE):
            canvas.drawString(40, 800 - 18 * line, f"{page + 1}.{line} " + " ".join(chosen.choices(WORDS, k=12))[:90])
        canvas.showPage()
    canvas.save()
    return buffer.getvalue()


def make_text(num_paragraphs: int) -> list[str]:
    chosen = random.Random(11)
    return [f"{i}. " + " ".join(chosen.choices(WORDS, k=110)) + "." for i in range(num_paragraphs)]


class Watch:
    """Peak resident memory of the worker's processes and of the parsers that they start, in MB."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.peaks = {"worker": 0.0, "parser": 0.0}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(0.05):
            worker = self.service.child("celery", "worker")
            if worker is None:
                continue
            try:
                found = [worker, *worker.children(recursive=True)]
            except psutil.Error:
                continue
            for process in found:
                self._note(process)

    def _note(self, process: psutil.Process) -> None:
        try:
            kind = "parser" if "-I" in process.cmdline() else "worker"
            self.peaks[kind] = max(self.peaks[kind], peak_mb(process.pid))
        except (psutil.Error, OSError):
            pass


def peak_mb(pid: int) -> float:
    """VmHWM: the most that was ever resident."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0


def send_pdf(service: Service, raw: bytes) -> dict[str, Any]:
    response = requests.post(
        f"{service.url}/v1/documents/",
        files={"file": ("report.pdf", raw, "application/pdf")},
        data={"user_id": "reader"},
        headers={"Authorization": f"Token {service.api_key}"},
        timeout=120,
    )
    response.raise_for_status()
    answer: dict[str, Any] = response.json()
    return answer


def follow(service: Service, document_id: str, *, timeout_s: float) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """(the document when it is done, what its progress was meanwhile)"""
    seen: list[dict[str, Any]] = []
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        found = service.call("GET", f"/v1/documents/{document_id}/").json
        if found["progress"] is None:
            return found, seen
        if not seen or seen[-1] != found["progress"]:
            seen.append(found["progress"])
        time.sleep(POLL_S)
    raise TimeoutError(f"document {document_id} is not done after {timeout_s} s")


def measure_pdf(service: Service, num_pages: int) -> dict[str, Any]:
    raw = make_pdf(num_pages)
    started = time.perf_counter()
    with Watch(service) as watch:
        sent = send_pdf(service, raw)
        answered_s = time.perf_counter() - started
        done, seen = follow(service, sent["id"], timeout_s=1_800)
    stages = [one["stage"] for one in seen]
    return {
        "pages": num_pages,
        "file_mb": round(len(raw) / 2**20, 2),
        "state": done["state"],
        "error": done["error"],
        "chunks": done["num_chunks"],
        "answered_s": round(answered_s, 2),
        "done_s": round(time.perf_counter() - started, 1),
        "progress_seen": {name: stages.count(name) for name in dict.fromkeys(stages)},
        "worker_peak_mb": round(watch.peaks["worker"]),
        "parser_peak_mb": round(watch.peaks["parser"]),
    }


def measure_edit(service: Service, num_paragraphs: int) -> dict[str, Any]:
    """An insertion in the middle, a deletion, and a changed word."""
    paragraphs = make_text(num_paragraphs)
    body = {"content": "\n\n".join(paragraphs), "user_id": "writer", "source": "edited"}
    started = time.perf_counter()
    made = service.call("POST", "/v1/documents/", body).json
    done, _ = follow(service, made["id"], timeout_s=1_800)
    first_s = time.perf_counter() - started
    found: dict[str, Any] = {"chunks": done["num_chunks"], "first_s": round(first_s, 1)}
    edits: dict[str, Callable[[], Any]] = {
        "insertion": lambda: paragraphs.insert(num_paragraphs // 2, "A paragraph that was not there before."),
        "deletion": lambda: paragraphs.pop(num_paragraphs // 3),
        "one word": lambda: paragraphs.__setitem__(5, paragraphs[5] + " Changed."),
    }
    for name, apply in edits.items():
        apply()
        started = time.perf_counter()
        service.call("POST", "/v1/documents/", {**body, "content": "\n\n".join(paragraphs)})
        done, _ = follow(service, made["id"], timeout_s=1_800)
        took_s = round(time.perf_counter() - started, 1)
        found[name] = {"embedded": done["num_embedded"], "reused": done["num_reused"], "s": took_s}
    return found


def measure_search(service: Service) -> dict[str, Any]:
    """Milliseconds, of different questions, of a user with memories and the long document."""
    said = [{"role": "user", "content": text} for text in make_text(60)]
    body = {"messages": said, "user_id": "reader", "infer": False}
    service.call("POST", "/v3/memories/add/", body)
    chosen = random.Random(13)
    found: dict[str, Any] = {}
    for include in (["memories"], ["documents"], ["memories", "documents"]):
        times = []
        for _ in range(NUM_SEARCHES):
            query = " ".join(chosen.choices(WORDS, k=7))
            asked = {"query": query, "filters": {"user_id": "reader"}, "include": include}
            started = time.perf_counter()
            assert service.call("POST", "/v3/memories/search/", asked).status == 200
            times.append(1000 * (time.perf_counter() - started))
        cuts = statistics.quantiles(times, n=20)
        found["+".join(include)] = {"p50_ms": round(statistics.median(times), 1), "p95_ms": round(cuts[-1], 1)}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", type=int, default=1_000)
    parser.add_argument("--paragraphs", type=int, default=400)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        service = Service(Path(folder) / "data")
        try:
            service.start()
            figures = {
                "pdf": measure_pdf(service, options.pages),
                "edit": measure_edit(service, options.paragraphs),
                "search": measure_search(service),
            }
        finally:
            service.end()
    print(json.dumps(figures, indent=2))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
