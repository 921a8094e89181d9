"""What the two Python drivers share: the steps, the waiting, and the report.

Runs in the environment of the client under test: it imports the standard library and `requests`, no more.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import requests

EVENT_TIMEOUT_S = 60
MESSAGES = [
    {"role": "user", "content": "I moved to Porto in March and I work as a baker there."},
    {"role": "assistant", "content": "Congratulations! How do you like Porto so far?"},
    {
        "role": "user",
        "content": "I love it. My sister Clara visited me last weekend and we took the boat to Pinhão.",
    },
    {"role": "user", "content": "By the way, I am allergic to walnuts, so no walnut bread for me."},
    {"role": "user", "content": "My bicycle is a green Falcon, and I ride it to the bakery every morning."},
]


class Report:
    """Runs named steps one after the other and keeps what each answered."""

    def __init__(self, host: str, api_key: str) -> None:
        self.host, self.api_key = host.rstrip("/"), api_key
        self.steps: dict[str, dict[str, Any]] = {}

    def step(self, name: str, call: Callable[[], Any], check: Callable[[Any], bool] = bool) -> Any:
        """Returns the call's answer, or None when it raised or its answer was not what it must be."""
        try:
            answer = call()
            self.wait_for_events(answer)
            problem = None if check(answer) else f"unexpected answer: {json.dumps(answer, default=str)[:600]}"
        except Exception as exc:  # noqa: BLE001 - whatever a client raises belongs in the report
            answer, problem = None, f"{type(exc).__name__}: {exc}"
        if problem:
            self.steps[name] = {"ok": False, "error": problem}
            return None
        self.steps[name] = {"ok": True, "answer": answer}
        return answer

    def wait_for_events(self, answer: Any) -> None:
        """Raises unless every event that the answer names succeeds."""
        for event_id in event_ids(answer):
            end = time.monotonic() + EVENT_TIMEOUT_S
            while True:
                headers = {"Authorization": f"Token {self.api_key}"}
                response = requests.get(f"{self.host}/v1/event/{event_id}/", headers=headers, timeout=30)
                response.raise_for_status()
                event = response.json()
                if event["status"] == "SUCCEEDED":
                    break
                if event["status"] == "FAILED":
                    raise RuntimeError(f"event {event_id} failed: {event.get('error')}")
                if time.monotonic() > end:
                    raise TimeoutError(f"event {event_id} is {event['status']} after {EVENT_TIMEOUT_S} s")
                time.sleep(0.1)

    def finish(self) -> None:
        """Prints the report, names the failed steps on stderr, and exits 0 only if there are none."""
        print(json.dumps(self.steps, indent=1, default=str))
        failed = [f"{name}: {step['error']}" for name, step in self.steps.items() if not step["ok"]]
        for line in failed:
            print(f"failed step {line}", file=sys.stderr)
        sys.exit(1 if failed or not self.steps else 0)


def event_ids(answer: Any) -> Iterator[str]:
    """Every event_id in an answer, which is a dict or a list by the client's version."""
    if isinstance(answer, dict):
        if answer.get("event_id"):
            yield answer["event_id"]
        answer = list(answer.values())
    if isinstance(answer, list):
        for part in answer:
            yield from event_ids(part)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", default="http://127.0.0.1:8000")
    parser.add_argument("--api-key", required=True)
    parser.add_argument("--user", required=True, help="a user_id that nothing else uses; its memories are deleted")
    return parser.parse_args()


def texts(answer: Any) -> str:
    return "\n".join(memory["memory"] for memory in answer["results"])


def drive(
    report: Report, client: Any, user: str, *, prefix: str = "", feedback: Callable[[str], Any] | None = None
) -> None:
    """The calls that every generation has. `feedback` stands in where the client's own is broken."""
    filters = {"AND": [{"user_id": user}]}
    missing = "00000000-0000-4000-8000-000000000000"

    def step(name: str, call: Callable[[], Any], check: Callable[[Any], bool] = bool) -> Any:
        return report.step(prefix + name, call, check)

    def listed() -> Any:
        return client.get_all(filters=filters)

    def is_gone(memory_id: str) -> bool:
        try:
            client.get(memory_id)
        except Exception as exc:
            if type(exc).__name__ == "MemoryNotFoundError":
                return True
            raise
        return False

    step("add", lambda: client.add(MESSAGES, user_id=user, metadata={"source": "driver"}, timestamp=1741003200))
    step(
        "add_infer_false",
        lambda: client.add("Verbatim: the oven is at 230 degrees.", user_id=user, infer=False),
    )
    found = step(
        "get_all",
        listed,
        lambda a: all(w in texts(a) for w in ("Porto", "walnut", "Falcon", "Verbatim: the oven is at 230 degrees.")),
    )
    step(
        "search",
        lambda: client.search("What is the user allergic to?", filters=filters, top_k=3),
        lambda a: "walnut" in texts(a) and all(m["score"] > 0 for m in a["results"]),
    )
    ids = [memory["id"] for memory in found["results"]] if found else []
    if len(ids) < 4:
        report.steps[f"{prefix}remaining"] = {
            "ok": False,
            "error": f"4 memories are needed, get_all gave {len(ids)}",
        }
        return
    first, second, third, fourth = ids[:4]

    step("get", lambda: client.get(first), lambda a: a["id"] == first and a["user_id"] == user)
    step("get_unknown", lambda: is_gone(missing))
    new_text = "The user moved to Braga in June."
    step("update", lambda: client.update(first, text=new_text, metadata={"checked": True}))
    step(
        "get_updated",
        lambda: client.get(first),
        lambda a: a["memory"] == new_text and a["metadata"]["checked"] is True,
    )
    step(
        "history",
        lambda: client.history(first),
        lambda a: any(h["event"] == "UPDATE" and h["new_memory"] == new_text for h in a),
    )
    step(
        "feedback",
        lambda: (feedback or client.feedback)(first, feedback="POSITIVE", feedback_reason="it is true"),
    )
    step(
        "users",
        client.users,
        lambda a: a["next"] or any(e["name"] == user and e["type"] == "user" for e in a["results"]),
    )
    step("delete", lambda: client.delete(first))
    step("get_deleted", lambda: is_gone(first))
    changes = [
        {"memory_id": second, "text": "Batch text one."},
        {"memory_id": third, "text": "Batch text two."},
    ]
    step("batch_update", lambda: client.batch_update(changes))
    step("get_batch_updated", listed, lambda a: "Batch text one." in texts(a) and "Batch text two." in texts(a))
    step("batch_delete", lambda: client.batch_delete([{"memory_id": second}, {"memory_id": third}]))
    step(
        "get_all_after_batch_delete",
        listed,
        lambda a: (
            {second, third}.isdisjoint(m["id"] for m in a["results"]) and fourth in {m["id"] for m in a["results"]}
        ),
    )
    step("delete_all", lambda: client.delete_all(user_id=user))
    step("get_all_after_delete_all", listed, lambda a: a["results"] == [])
