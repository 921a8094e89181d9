"""Conversations in LoCoMo's format (Maharana et al., ACL 2024) -> a running service. The data is no part of this."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import httpx

MAX_CITED = 3  # a hit that cites more messages is a summary, and counts as found for none
CHARS_A_TOKEN = 4


def sessions(sample: dict[str, Any]) -> Iterator[tuple[int, datetime, list[dict[str, Any]]]]:
    number, talk = 1, sample["conversation"]
    while f"session_{number}" in talk:
        said = datetime.strptime(talk[f"session_{number}_date_time"].strip(), "%I:%M %p on %d %B, %Y")
        yield number, said.replace(tzinfo=UTC), talk[f"session_{number}"]
        number += 1


def to_message(turn: dict[str, Any], role: str) -> dict[str, str]:
    photo = f" [shares a photo: {turn['blip_caption']}]" if turn.get("blip_caption") else ""
    return {"id": turn["dia_id"], "role": role, "name": turn["speaker"], "content": turn["text"] + photo}


def ingest(api: httpx.Client, sample: dict[str, Any]) -> None:
    """Each session is one add under user_id = the conversation. Ends when all are memories."""
    user, first = sample["sample_id"], sample["conversation"]["speaker_a"]
    events = []
    for number, said, turns in sessions(sample):
        messages = [to_message(turn, "user" if turn["speaker"] == first else "assistant") for turn in turns]
        body = {"messages": messages, "user_id": user, "run_id": f"{user}/{number}", "timestamp": said.timestamp()}
        answer = api.post("/v3/memories/add/", json=body)
        answer.raise_for_status()
        events.append(answer.json()["event_id"])
    for event in events:
        while (status := api.get(f"/v1/event/{event}/").json()["status"]) not in ("SUCCEEDED", "FAILED"):
            time.sleep(0.1)
        if status == "FAILED":
            raise SystemExit(f"event {event} of {user} failed")
