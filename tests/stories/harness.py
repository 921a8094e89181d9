"""Plays a small story to the service and says which of its checks do not hold.

A file in tests/stories/ is a JSON list of stories:

    name, kind   the kind groups the scores
    messages     [{at, speaker, text, role, session, user}] in the order in which they are posted; `at` may go back.
                 role: "user" unless given. session: the day, unless given. user: whose scope, "" unless given.
    checks       [{type, ...}], see CHECKS
    ideal        the facts that a perfect model would return, for the scripted run (scripted.py)

Words are matched whole and without regard to case. `lives in|moved to` accepts either, `teach*` any ending. A list of
words asks for all of them in one memory.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import Any, Protocol

DEV = Path(__file__).parent / "dev"
SECOND = Path(__file__).parent / "second"  # held out until the readers were measured with them
PAGE_SIZE = 200
DEFAULT_WITHIN = 5
DEFAULT_TOLERANCE_DAYS = 3

# What says that a sentence denies: in a check of what is over or was never so, it may name the value and be right.
DENIED = (
    "not|never|no|n't|cannot|without|isn't|aren't|wasn't|doesn't|don't|didn't|hasn't|haven't|won't|can't|neither|nor"
    "|instead of|rather than|mistaken|mistake|wrong|wrongly|incorrect|corrected"
)
# What says that a sentence is not about now.
OVER = (
    "used to|no longer|any more|anymore|any longer|former|formerly|previous|previously|earlier|ex|was|were|had"
    "|lived|worked|studied|owned|played|kept|drove|dated|left|leaves|moved away|moved out|moved from|moved back from"
    "|sold|gave|given|died|dead|passed away|late|lost|stolen|stopped|quit|gave up|ended|is over|are over|finished"
    "|broke up|split up|split|separated|divorced|cancelled|canceled|called off|fell through|back then|replaced"
    "|changed from|switched from|rehomed|returned|retired from"
)
# What says that a sentence only tells of a thought, a tale or another's words.
UNREAL = (
    "if|would|could|might|may|maybe|perhaps|wish*|hope*|want*|dream*|imagin*|pretend*|jok*|kidding|hypothetical*"
    "|fiction*|novel|film|movie|song|lyric*|poem|character|quot*|said|says|saying|told|tells|claim*|accord*"
    "|rumour*|rumor*|wonder*|ask*|question*|consider*|think*|thought|sarcas*|iron*|suppos*|heard|believ*|whether"
)


class Api(Protocol):
    """tests/conftest.py's ApiClient, or anything that posts JSON and gives `status` and `json` back."""

    def post(self, path: str, body: Any) -> Any: ...

    def get(self, path: str) -> Any: ...


@dataclass(frozen=True, slots=True)
class Said:
    at: datetime
    text: str
    speaker: str | None
    role: str
    session: str
    user: str


@dataclass(frozen=True, slots=True)
class Story:
    name: str
    kind: str
    messages: tuple[Said, ...]
    checks: tuple[dict[str, Any], ...]
    ideal: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Failure:
    check: dict[str, Any]
    reason: str

    def __str__(self) -> str:
        return f"{json.dumps(self.check, ensure_ascii=False)}: {self.reason}"


@dataclass(slots=True)
class Played:
    """A story that has been posted: where its checks look."""

    api: Api
    story: Story
    events: list[str] = field(default_factory=list)

    def user_id(self, check: dict[str, Any]) -> str:
        return user_id_of(self.story, check.get("user", ""))


def user_id_of(story: Story, user: str) -> str:
    return f"{story.name}/{user}" if user else story.name


# Reading


def load_stories(folder: Path) -> list[Story]:
    """Every story of the folder's *.json, by file and in order. Raises ValueError on two of one name."""
    stories = [
        parse_story(raw) for path in sorted(folder.glob("*.json")) for raw in json.loads(path.read_text("utf-8"))
    ]
    names = [story.name for story in stories]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"two stories are called {', '.join(twice)}")
    return stories


def parse_story(raw: dict[str, Any]) -> Story:
    """Raises ValueError, KeyError on what is not a story."""
    for check in raw["checks"]:
        if check["type"] not in CHECKS:
            raise ValueError(f"story {raw['name']!r}: unknown check {check['type']!r}; known are {', '.join(CHECKS)}")
    messages = tuple(_parse_message(message, index) for index, message in enumerate(raw["messages"]))
    return Story(raw["name"], raw["kind"], messages, tuple(raw["checks"]), tuple(raw.get("ideal", ())))


def _parse_message(raw: dict[str, Any], index: int) -> Said:
    """A day alone is noon, and a minute later for each message before it."""
    at = datetime.fromisoformat(raw["at"])
    if len(raw["at"]) == len("2024-01-31"):
        at += timedelta(hours=12, minutes=index)
    return Said(
        at=at if at.tzinfo else at.replace(tzinfo=UTC),
        text=raw["text"],
        speaker=raw.get("speaker"),
        role=raw.get("role", "user"),
        session=raw.get("session", raw["at"][:10]),
        user=raw.get("user", ""),
    )


# Playing


def run(story: Story, api: Api, *, whole_sessions: bool = False) -> list[Failure]:
    """Posts the story's messages and evaluates its checks. [] where all hold.

    whole_sessions: neighbouring messages of one session in one add; else each in an add of its own. The worker must be
    done with an add when `post` returns.
    """
    return failures_of(play(story, api, whole_sessions=whole_sessions))


def failures_of(played: Played) -> list[Failure]:
    failures = [Failure({"type": "event", "id": event}, reason) for event, reason in failed_events(played)]
    for check in played.story.checks:
        reason = CHECKS[check["type"]](played, check)
        if reason:
            failures.append(Failure(check, reason))
    return failures


def play(story: Story, api: Api, *, whole_sessions: bool = False) -> Played:
    played = Played(api, story)
    for messages in _adds(story, whole_sessions):
        first = messages[0]
        body = {
            "messages": [_to_json(message) for message in messages],
            "user_id": user_id_of(story, first.user),
            "run_id": f"{story.name}/{first.user}/{first.session}",
        }
        answer = api.post("/v3/memories/add/", body)
        if answer.status != 200:
            raise RuntimeError(f"story {story.name}: add answered {answer.status}: {answer.json}")
        played.events.append(answer.json["event_id"])
    return played


def _adds(story: Story, whole_sessions: bool) -> Iterator[list[Said]]:
    if not whole_sessions:
        yield from ([message] for message in story.messages)
        return
    for _, group in groupby(story.messages, key=lambda message: (message.user, message.session)):
        yield list(group)


def _to_json(said: Said) -> dict[str, Any]:
    message = {"role": said.role, "content": said.text, "created_at": said.at.isoformat()}
    return message | ({"name": said.speaker} if said.speaker else {})


def failed_events(played: Played) -> list[tuple[str, str]]:
    found = [(event, played.api.get(f"/v1/event/{event}/").json) for event in played.events]
    return [(name, f"{event['status']}: {event['error']}") for name, event in found if event["status"] != "SUCCEEDED"]


# Looking


def current(played: Played, check: dict[str, Any], **asked: Any) -> list[str]:
    """The texts of the semantic memories that a list returns."""
    filters = {"user_id": played.user_id(check), "kind": "semantic"}
    answer = played.api.post("/v3/memories/", {"filters": filters, "page_size": PAGE_SIZE, **asked})
    if answer.status != 200:
        raise Refused(f"list answered {answer.status}: {answer.json}")
    return [memory["memory"] for memory in answer.json["results"]]


class Refused(Exception):
    """The service did not accept a check's question."""


@dataclass(frozen=True, slots=True)
class Version:
    """A text that was, or still is, a semantic memory. ended: when it stopped being true, where that is kept."""

    text: str
    ended: datetime | None
    is_over: bool


def versions(played: Played, check: dict[str, Any]) -> list[Version]:
    """Live and superseded semantic memories, and what they said before an update. Not the quarantined or deleted."""
    from memory_service.models import Memory, MemoryRevision

    rows = Memory.objects.filter(
        user_id=played.user_id(check), kind=Memory.Kind.SEMANTIC, state__in=("live", "superseded")
    )
    found = [Version(row.text, row.invalid_at, row.state == "superseded") for row in rows.order_by("id")]
    changed = MemoryRevision.objects.filter(memory__in=rows, operation="UPDATE").exclude(old_text=None)
    return found + [Version(old_text or "", None, True) for old_text in changed.values_list("old_text", flat=True)]


# Checks: None where the check holds, else why not.


def check_current(played: Played, check: dict[str, Any]) -> str | None:
    """words: one current semantic memory has them all."""
    texts = current(played, check)
    return None if any(matches(text, check["words"]) for text in texts) else f"current are {texts}"


def check_not_current(played: Played, check: dict[str, Any]) -> str | None:
    """words: no current semantic memory has them all, unless it says that this is over. strict: not even then."""
    return _none_of(
        current(played, check), check["words"], "" if check.get("strict") else f"{OVER}|{DENIED}", "still current"
    )


def check_past(played: Played, check: dict[str, Any]) -> str | None:
    """words: a version that was superseded has them. ended: the day it ended, give or take tolerance_days."""
    over = [version for version in versions(played, check) if version.is_over]
    found = [version for version in over if matches(version.text, check["words"])]
    if not found:
        return f"superseded are {[version.text for version in over]}"
    if "ended" not in check:
        return None
    day = datetime.fromisoformat(check["ended"]).replace(hour=12, tzinfo=UTC)
    tolerance = timedelta(days=check.get("tolerance_days", DEFAULT_TOLERANCE_DAYS), hours=12)
    if any(version.ended and abs(version.ended - day) <= tolerance for version in found):
        return None
    return f"ended at {[str(version.ended) for version in found]}"


def check_as_of(played: Played, check: dict[str, Any]) -> str | None:
    """date: what a list as of that day's noon contains and does not contain, each a list of lists of words."""
    texts = current(played, check, as_of=f"{check['date']}T12:00:00Z")
    for words in check.get("contains", ()):
        if not any(matches(text, words) for text in texts):
            return f"{words} missing; as of then are {texts}"
    for words in check.get("not_contains", ()):
        if reason := _none_of(texts, words, f"{OVER}|{DENIED}", "as of then"):
            return reason
    return None


def check_finds(played: Played, check: dict[str, Any]) -> str | None:
    """question: one of the first `within` hits of any kind has the words."""
    within = check.get("within", DEFAULT_WITHIN)
    body = {"query": check["question"], "filters": {"user_id": played.user_id(check)}, "top_k": within}
    answer = played.api.post("/v3/memories/search/", body)
    if answer.status != 200:
        raise Refused(f"search answered {answer.status}: {answer.json}")
    texts = [hit["memory"] for hit in answer.json["results"]]
    return None if any(matches(text, check["words"]) for text in texts) else f"found {texts}"


def check_count(played: Played, check: dict[str, Any]) -> str | None:
    """words: exactly `equals` current semantic memories have them."""
    found = [text for text in current(played, check) if matches(text, check["words"])]
    return None if len(found) == check["equals"] else f"{len(found)}: {found}"


def check_no_fact(played: Played, check: dict[str, Any]) -> str | None:
    """words: no semantic memory, current or past, has them all, unless it denies it, or says that it is not real."""
    texts = [version.text for version in versions(played, check)]
    unless = "" if check.get("strict") else f"{DENIED}|{UNREAL}"
    return _none_of(texts, check["words"], unless, "remembered")


def _none_of(texts: Sequence[str], words: Sequence[str], unless: str, what: str) -> str | None:
    found = [text for text in texts if matches(text, words) and not (unless and _has(text, unless))]
    return f"{what}: {found}" if found else None


CheckFunction = Callable[[Played, dict[str, Any]], str | None]


def _answered(check_function: CheckFunction) -> CheckFunction:
    def answered(played: Played, check: dict[str, Any]) -> str | None:
        try:
            return check_function(played, check)
        except Refused as exc:
            return str(exc)

    return answered


CHECKS: dict[str, CheckFunction] = {
    "current": _answered(check_current),
    "not_current": _answered(check_not_current),
    "past": _answered(check_past),
    "as_of": _answered(check_as_of),
    "finds": _answered(check_finds),
    "count": _answered(check_count),
    "no_fact": _answered(check_no_fact),
}


# Words

_SAME_MARKS = str.maketrans("‘’`“”–—", "'''\"\"--")


def matches(text: str, words: Sequence[str]) -> bool:
    return all(_has(text, word) for word in words)


def _has(text: str, alternatives: str) -> bool:
    return bool(_pattern(alternatives).search(" ".join(text.translate(_SAME_MARKS).split())))


@lru_cache(maxsize=4096)
def _pattern(alternatives: str) -> re.Pattern[str]:
    written = (re.escape(one.strip().translate(_SAME_MARKS)) for one in alternatives.split("|"))
    joined = "|".join(one.replace(r"\ ", " ").replace(r"\*", r"\w*") for one in written)
    return re.compile(rf"(?:(?<!\w)|(?=n't))(?:{joined})(?!\w)", re.IGNORECASE)
