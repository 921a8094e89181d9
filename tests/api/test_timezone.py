"""Where a thing was said decides which day `today` is: the zone goes into the event with the messages."""

from __future__ import annotations

from typing import Any

import pytest

from memory_service.models import Event
from tests.conftest import ApiClient, Worker

LATE, LATER = "2025-03-01T23:30:00-08:00", "2025-03-01T23:40:00-08:00"


def said(*times: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": f"I moved today, {i}.", "created_at": at} for i, at in enumerate(times)]


@pytest.mark.parametrize(
    ("body", "zone"),
    [
        ({"messages": said(LATE), "timezone": "Europe/Oslo"}, "Europe/Oslo"),
        ({"messages": said(LATE, LATER)}, "-08:00"),
        ({"messages": said("2025-03-01T23:30:00+05:30"), "timezone": ""}, "+05:30"),
        ({"messages": "I moved today.", "timestamp": LATE, "timezone": None}, "-08:00"),
        ({"messages": said(LATE, "2025-03-01T23:30:00Z")}, None),
        ({"messages": said("2025-03-01T23:30:00+00:00")}, None),
        ({"messages": said("2025-03-01", 1740900000)}, None),
        ({"messages": "I moved today."}, None),
    ],
)
def test_the_event_knows_the_zone(client: ApiClient, worker: Worker, body: dict[str, Any], zone: str | None) -> None:
    worker.paused = True
    answer = client.post("/v3/memories/add/", {"user_id": "ann", **body})
    assert answer.status == 200, answer
    assert Event.objects.get(public_id=answer.json["event_id"]).options["timezone"] == zone


@pytest.mark.parametrize("zone", ["Mars/Olympus", "America", "../etc/passwd", "/etc/passwd", "x" * 5000, "-08:00"])
def test_it_refuses_a_zone_that_is_none(client: ApiClient, zone: str) -> None:
    answer = client.post("/v3/memories/add/", {"user_id": "ann", "messages": "Hello there.", "timezone": zone})
    assert answer.status == 400, answer
    assert f"timezone: {zone[:80]!r} is not a time zone; accepted are IANA names" in answer.json["detail"]
