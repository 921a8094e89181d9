"""Some months of Maya and Tom, who are moving to Oslo: what the browser test and the screenshots show."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from memory_service.models import EventStatus, Memory, MemoryState, Project, Session

from .conftest import make_event, make_session, remember, say


class Drawn(NamedTuple):
    text: str
    of: str
    kind: str = Memory.Kind.SEMANTIC
    entities: dict[str, str] = {}
    valid_at: datetime | None = None
    invalid_at: datetime | None = None
    state: str = MemoryState.LIVE


def _day(month: int, day: int) -> datetime:
    return datetime(2026, month, day, tzinfo=UTC)


MAYA, TOM = {"Maya": "person"}, {"Tom": "person"}

TALK: list[tuple[str, str, str, list[Drawn]]] = [
    (
        "Maya",
        "user",
        "It is official: I signed with the Munch Museum yesterday! I start as a paper conservator on 4 May, "
        "so we are really moving to Oslo.",
        [
            Drawn(
                "Maya signed a contract with the Munch Museum on 1 March 2026.",
                "I signed with the Munch Museum yesterday",
                Memory.Kind.EPISODIC,
                MAYA | {"Munch Museum": "organisation"},
                _day(3, 1),
            ),
            Drawn(
                "Maya works as a paper conservator at the Munch Museum.",
                "I start as a paper conservator on 4 May",
                entities=MAYA | {"Munch Museum": "organisation"},
                valid_at=_day(5, 4),
            ),
        ],
    ),
    (
        "Concierge",
        "assistant",
        "Congratulations, Maya! Shall I look for flats near Bjørvika, so that you can walk to the museum?",
        [],
    ),
    (
        "Maya",
        "user",
        "Grünerløkka, please. At most 24,000 kroner a month, and it needs a balcony: "
        "I will not leave my tomatoes behind.",
        [
            Drawn(
                "Maya wants a flat in Grünerløkka for at most 24,000 NOK a month.",
                "Grünerløkka, please. At most 24,000 kroner a month",
                entities=MAYA | {"Grünerløkka": "place"},
                valid_at=_day(3, 2),
                invalid_at=_day(3, 9),
                state=MemoryState.SUPERSEDED,
            ),
            Drawn(
                "Maya grows tomatoes and wants a balcony for them.",
                "it needs a balcony: I will not leave my tomatoes behind",
                entities=MAYA,
                valid_at=_day(3, 2),
            ),
        ],
    ),
    (
        "Tom",
        "user",
        "And no stairs without a lift, my knee is still healing from the ski trip. I can work from anywhere, "
        "Telenor does not mind.",
        [
            Drawn(
                "Tom hurt his knee on a ski trip and needs a lift in the house.",
                "no stairs without a lift, my knee is still healing from the ski trip",
                entities=TOM,
                valid_at=_day(3, 2),
            ),
            Drawn(
                "Tom works remotely for Telenor.",
                "I can work from anywhere, Telenor does not mind",
                entities=TOM | {"Telenor": "organisation"},
                valid_at=_day(3, 2),
            ),
        ],
    ),
    (
        "Concierge",
        "assistant",
        "Understood: Grünerløkka, up to 24,000 kroner, a balcony for the tomatoes and a lift for the knee. "
        "I found three that fit; the one in Markveien can be seen on Thursday at 17:00.",
        [
            Drawn(
                "A flat in Markveien can be viewed on 5 March 2026 at 17:00.",
                "the one in Markveien can be seen on Thursday at 17:00",
                Memory.Kind.EPISODIC,
                {"Markveien": "place"},
                _day(3, 5),
            )
        ],
    ),
    ("Maya", "user", "Perfect, thank you!", []),
    (
        "Tom",
        "user",
        "One more thing: Pixel comes along. She is a very old cat, so the landlord must allow pets.",
        [
            Drawn(
                "Tom and Maya have an old cat named Pixel.",
                "Pixel comes along. She is a very old cat",
                entities=TOM | MAYA | {"Pixel": "animal"},
                valid_at=_day(3, 2),
            )
        ],
    ),
]

MAYA_ALONE = {"user_id": "maya", "agent_id": "concierge"}
TOM_ALONE = {"user_id": "tom", "agent_id": "concierge"}
LESSONS = {"user_id": "tom", "agent_id": "tutor", "app_id": "web"}

# run, whose, days before, messages, summary
OTHERS: list[tuple[str | None, dict[str, str], int, int, str]] = [
    ("oslo-flat-viewing", MAYA_ALONE, 3, 18, "Maya and Tom saw the flat in Markveien and liked its balcony."),
    ("norwegian-lesson-07", LESSONS, 6, 42, "Tom practised the past tense and introduced his cat."),
    ("norwegian-lesson-06", LESSONS, 9, 38, ""),
    ("removal-quotes", MAYA_ALONE, 12, 26, "Maya prefers the removal firm that insures her microscope."),
    ("pixel-passport", TOM_ALONE, 15, 12, "Pixel needs a chip and a rabies vaccination to enter Norway."),
    (None, {"user_id": "maya", "app_id": "phone"}, 21, 5, ""),
    ("museum-interview", MAYA_ALONE, 33, 31, "Maya rehearsed questions about paper from the 1890s."),
    ("knee-exercises", TOM_ALONE, 40, 22, "Tom twisted his knee at Geilo and exercises in the mornings."),
]


def build(project: Project) -> Session:
    """Writes everything, and returns the session in which the flat is sought."""
    session = make_session(project, "oslo-flat-search", user_id="maya", agent_id="concierge")
    session.summary = (
        "Maya starts at the Munch Museum in May and moves to Oslo with Tom and their cat Pixel. "
        "They look for a flat in Grünerløkka with a balcony, a lift and a landlord who allows pets."
    )
    for name, role, text, drawn in TALK:
        [message] = say(session, text, role=role, name=name)
        for one in drawn:
            remember(message, **one._asdict())
    for other in OTHERS:
        _build_other(project, *other)
    return session


def _build_other(
    project: Project, run: str | None, ids: dict[str, str], days: int, num_messages: int, summary: str
) -> None:
    session = make_session(project, run, **ids)
    event = make_event(session, EventStatus.PENDING if run == "norwegian-lesson-07" else EventStatus.SUCCEEDED)
    messages = say(session, *[f"Line {n} of {run}." for n in range(num_messages)], event=event)
    for message in messages[: num_messages * 2 // 3]:
        remember(message, f"Remembered: {message.content} ({message.pk})")
    session.summary = summary
    ago = timedelta(days=days, hours=days % 5, minutes=7 * days % 60)  # nobody chats at nine sharp every time
    session.first_said_at -= ago
    session.last_said_at -= ago
    session.save()
