"""Five minutes with the official mem0ai client: add a conversation, search it, correct it, forget it.

Start the service with `make run` in one terminal, then run `python examples/quickstart.py` in another.
"""

from __future__ import annotations

import os
import secrets
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

os.environ["MEM0_TELEMETRY"] = "False"  # read on import: nothing is sent anywhere but to your service

try:
    import httpx
    from mem0 import MemoryClient
except ImportError:
    sys.exit("The mem0ai package is not installed: run `pip install mem0ai==2.2.1`, or use .venv/bin/python.")

HOST = os.environ.get("MEMORY_SERVICE_URL") or f"http://127.0.0.1:{os.environ.get('PORT') or 8000}"
KEY_FILE = Path(os.environ.get("DATA_DIR") or ".data") / "api-key"
EVENT_TIMEOUT_S, NAMES = 60, {"user": "Nora", "assistant": "Cook"}
DAYS = [
    [
        ("user", "Hi! I'm Nora. I'm planning a dinner on Saturday, and my brother Emil is coming."),
        ("assistant", "Nice! Is there anything that Emil doesn't eat?"),
        ("user", "He's vegetarian, and I can't stand coriander. I bought a big blue pot for the soup."),
        ("assistant", "Then a lentil soup without coriander would suit you both."),
    ],
    [
        ("user", "Small change: Emil has to work on Saturday, so we moved the dinner to Sunday at seven."),
        ("assistant", "Sunday at seven it is. Is it still the lentil soup?"),
        ("user", "Yes. He's bringing his new girlfriend, Petra, and she makes a walnut cake."),
        ("user", "ok, thanks!"),
    ],
]


def connect() -> MemoryClient:
    key = os.environ.get("MEM0_API_KEY") or (KEY_FILE.read_text().strip() if KEY_FILE.is_file() else "")
    if not key:
        sys.exit(f"There is no API key in {KEY_FILE}: run `make run` first, or set DATA_DIR or MEM0_API_KEY.")
    try:
        return MemoryClient(api_key=key, host=HOST)
    except httpx.TransportError:
        sys.exit(f"Nothing answers at {HOST}: start the service with `make run`, or set MEMORY_SERVICE_URL.")
    except ValueError as exc:  # what the client makes of a refused key
        sys.exit(f"The service at {HOST} refused the key. {exc}")


def wait(client: MemoryClient, event_id: str) -> None:
    """Adding is acknowledged at once and worked on by the worker; the event says when that is done."""
    for _ in range(EVENT_TIMEOUT_S * 10):
        event = client.client.get(f"/v1/event/{event_id}/").raise_for_status().json()
        if event["status"] == "SUCCEEDED":
            return
        if event["status"] == "FAILED":
            sys.exit(f"The service could not process the messages: {event['error']}")
        time.sleep(0.1)
    sys.exit(f"Nothing came of the messages in {EVENT_TIMEOUT_S} s: {HOST}/readyz says whether a worker runs.")


def title(text: str) -> None:
    print(f"\n\033[1m{text}\033[0m" if sys.stdout.isatty() else f"\n{text}")


def ask(client: MemoryClient, user_id: str, question: str) -> list[dict[str, Any]]:
    hits: list[dict[str, Any]] = client.search(question, filters={"user_id": user_id}, top_k=3)["results"]
    title(f"? {question}")
    for hit in hits:
        sources = ", ".join(str(source["message_id"]) for source in hit.get("sources", []))
        print(f"  {hit['score']:.2f}  {hit['memory']}\n        from {sources or 'no message'}")
    if not hits:
        print("  nothing found")
    return hits


def main() -> None:
    client = connect()
    user_id = f"quickstart-{secrets.token_hex(3)}"
    print(f"Connected to {HOST}; everything below belongs to the user {user_id}.")
    title("Adding two short conversations, one from two days ago and one from yesterday")
    for number, day in enumerate(DAYS, 1):
        messages = [
            {"id": f"day{number}-{i}", "role": role, "name": NAMES[role], "content": text}
            for i, (role, text) in enumerate(day, 1)
        ]
        when = datetime.now(UTC) - timedelta(days=3 - number)
        answer = client.add(messages, user_id=user_id, run_id=f"day{number}", timestamp=int(when.timestamp()))
        wait(client, answer["event_id"])
        print(f"  {len(messages)} messages of {when:%A %d %B}: done")

    for question in ("What does Emil not eat?", "Who is Petra?", "When is the dinner?"):
        hits = ask(client, user_id, question)

    memories = client.get_all(filters={"user_id": user_id})
    title(f"All {memories['count']} memories of this user")
    for memory in memories["results"]:
        print(f"  {memory['memory']}")

    memory_id = (hits or memories["results"])[0]["id"]
    title("Correcting the memory of the dinner, then its history, then deleting it")
    client.update(memory_id, text="Nora's dinner is on Sunday at seven; Emil and Petra are coming.")
    for change in client.history(memory_id):
        print(f"  {change['event']}: {change['old_memory'] or '(nothing)'} -> {change['new_memory']}")
    print(f"  {client.delete(memory_id)['message']}")

    title("And in the sample that an empty database comes with:")
    ask(client, "maya", "What is Maya allergic to?")


if __name__ == "__main__":
    main()
