"""Context that begins as the one before it did, so that the provider's prefix cache holds.

A ledger remembers which memories a session's context shows, in their order. The first of them, KEEP_SHARE of a budget
of FULL_KEEP_TOKENS or more, are chosen for the questions to come rather than for this one: by what they say, of all
that the first question found. They stay. Behind them stands what this question needs and they do not have; it is
replaced from the end where there is no room. A memory that was changed, deleted or no longer passes the filter ends
the part that is kept, so that it is never shown again.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from django.db import transaction
from django.utils import timezone

from . import compression, retrieval, traits
from .formats import Entry
from .models import ContextLedger, Memory, Project
from .models.context import in_some_days
from .moments import texts_known_at
from .retrieval import Hit, SearchRequest

if TYPE_CHECKING:
    from .context import Candidate, Drawing

# Chosen on LoCoMo-format conversations: what loses about 0.02 of recall there. docs/context.md has the table.
KEEP_SHARE = 0.82  # of the budget, which a question leaves as it is
FULL_KEEP_TOKENS = 8_000  # with less, the share is less in proportion: the question needs the room
FORMAT_VERSION = 1  # raise it where the same memory is drawn in another way
HASH_CHARS = 16
PROPER_NAME = re.compile(r"(?<=[a-z,;] )(?!I\b)[A-Z]\w")  # not where a sentence begins


@dataclass(slots=True)
class Placed:
    candidate: Candidate
    part: int

    @property
    def entry(self) -> Entry:
        return self.candidate.entry(self.part)

    @property
    def hash(self) -> str:
        shown = f"{FORMAT_VERSION}\n{self.candidate.date}\n{self.candidate.shown}"
        return hashlib.sha256(shown.encode()).hexdigest()[:HASH_CHARS]


@dataclass(slots=True)
class Shown:
    """kept: as the last context began. new: behind it. pending: last, and not remembered; messages that will soon be
    memories."""

    epoch: int
    kept: list[Placed] = field(default_factory=list)
    new: list[Placed] = field(default_factory=list)
    pending: list[Placed] = field(default_factory=list)

    @property
    def all(self) -> list[Placed]:
        return [*self.kept, *self.new, *self.pending]

    @property
    def num_unchanged(self) -> int:
        return len(self.kept)

    def drop_last(self) -> bool:
        """False where nothing is left to drop."""
        for placed in (self.pending, self.new, self.kept):
            if placed:
                placed.pop()
                return True
        return False


@dataclass(slots=True)
class Book:
    """The ledger's row, locked until the transaction ends."""

    row: ContextLedger

    def save(self, shown: Shown) -> None:
        remembered = [*shown.kept, *shown.new]
        self.row.epoch = shown.epoch
        self.row.entries = [_to_json(one) for one in remembered]
        memories = [one.candidate.hit.memory for one in remembered]
        self.row.scope_ids = sorted({memory.scope_id for memory in memories if memory})
        self.row.expires_at = in_some_days()
        self.row.save()


def _to_json(placed: Placed) -> dict[str, Any]:
    memory = placed.candidate.hit.memory
    assert memory is not None  # what is pending is not remembered
    kept = placed.candidate.kept
    return {"memory": memory.pk, "part": placed.part, "hash": placed.hash, "kept": list(kept) if kept else None}


@contextmanager
def opened(project: Project, session: str, shape: str) -> Iterator[Book]:
    """The session's ledger, for this caller alone. Of another shape, or expired, it is empty."""
    key_hash = hashlib.sha256(f"{project.pk}\n{session}".encode()).hexdigest()
    named = {"project": project, "key_hash": key_hash}
    with transaction.atomic():
        row = ContextLedger.objects.select_for_update().filter(**named).first()
        if row is None:
            ContextLedger.objects.get_or_create(**named, defaults={"shape": shape})
            row = ContextLedger.objects.select_for_update().get(**named)
        if row.shape != shape or row.expires_at <= timezone.now():
            row.epoch += bool(row.entries)
            row.shape, row.entries = shape, []
        yield Book(row)


def drop_expired() -> int:
    return ContextLedger.objects.filter(expires_at__lte=timezone.now()).delete()[0]


def default_keep_share(max_tokens: int) -> float:
    return KEEP_SHARE * min(1.0, max_tokens / FULL_KEEP_TOKENS)


def plan(
    book: Book,
    project: Project,
    search: SearchRequest,
    drawing: Drawing,
    candidates: Sequence[Candidate],
    to_candidate: Callable[[Hit], Candidate],
    *,
    keep_share: float | None = None,
) -> Shown:
    """What the context shows now: candidates (best first) behind what it showed before.

    keep_share: instead of the default of this budget.
    """
    share = default_keep_share(drawing.max_tokens) if keep_share is None else keep_share
    kept = _still_true(book.row, project, search, drawing, candidates, to_candidate)
    wanted, _ = drawing.fill(candidates)
    room = drawing.max_tokens - drawing.frame_cost()
    kept = _make_room(kept, wanted, drawing, room, share)
    shown = Shown(book.row.epoch + (not kept and bool(book.row.entries)), kept)
    _append(shown, sorted(candidates, key=_worth, reverse=True), drawing, int(share * room), memories_only=True)
    _append(shown, wanted, drawing, room)
    return shown


def _worth(candidate: Candidate) -> tuple[bool, int, bool, int]:
    """For questions not yet asked: a fact before what was said, then what names more (a time or number, somebody or
    something by name), then a statement before a question, and then the longer, which says more."""
    memory = candidate.hit.memory
    flags = memory.traits if memory is not None else 0
    is_fact = memory is not None and memory.kind != Memory.Kind.EPISODIC
    names = bool(flags & (traits.NAMES_TIME | traits.NAMES_NUMBER)) + bool(PROPER_NAME.search(candidate.text))
    return is_fact, names, not candidate.text.rstrip().endswith("?"), len(candidate.text)


def _still_true(
    row: ContextLedger,
    project: Project,
    search: SearchRequest,
    drawing: Drawing,
    candidates: Sequence[Candidate],
    to_candidate: Callable[[Hit], Candidate],
) -> list[Placed]:
    """The entries from the beginning that can be shown as they were."""
    hits = {one.hit.memory.pk: one.hit for one in candidates if one.hit.memory is not None}
    others = _load(project, search, [entry["memory"] for entry in row.entries if entry["memory"] not in hits])
    sources = retrieval.load_sources(list(others))
    kept: list[Placed] = []
    for entry in row.entries:
        hit = hits.get(entry["memory"])
        if hit is None:
            memory = others.get(entry["memory"])
            if memory is None:
                break
            hit = Hit(0.0, {}, memory=memory, sources=sources.get(memory.pk, []))
        candidate = to_candidate(hit)
        if entry["kept"]:
            sentences = compression.split(candidate.text)
            if max(entry["kept"]) >= len(sentences):
                break
            text = compression.rejoin(sentences, entry["kept"])
            candidate = replace(candidate, text=text, kept=tuple(entry["kept"]), compressed=True)
        placed = Placed(candidate, entry["part"])
        if placed.hash != entry["hash"]:
            break
        kept.append(placed)
    return _whole_parts(kept, drawing, row.entries[len(kept)]["part"] if len(kept) < len(row.entries) else None)


def _load(project: Project, search: SearchRequest, pks: Sequence[int]) -> dict[int, Memory]:
    """Those that this question's filter lets through, as it let its hits through."""
    if not pks:
        return {}
    passing = retrieval.memories_passing(project, search.filter, show_expired=search.show_expired, moment=search.moment)
    memories: dict[int, Memory] = passing.for_rendering().in_bulk(list(pks))
    if search.moment.known_at is not None:
        for pk, text in texts_known_at(memories.values(), search.moment.known_at).items():
            memories[pk].text = text
    return memories


def _whole_parts(kept: list[Placed], drawing: Drawing, broken_part: int | None) -> list[Placed]:
    """A format that counts the rows of a part says so before them: a part that lost a row begins otherwise."""
    if drawing.format.name == "toon" and broken_part is not None:
        return [one for one in kept if one.part != broken_part]
    return kept


def _sizes(placed: Sequence[Placed], drawing: Drawing) -> list[int]:
    """What each adds to the text where it stands."""
    sizes = []
    date = ""
    for one in placed:
        heading = drawing.heading_cost(one.candidate) if one.candidate.date != date else 0
        sizes.append(drawing.cost_of(one.candidate) + heading)
        date = one.candidate.date
    return sizes


def _make_room(
    kept: list[Placed], wanted: Sequence[Candidate], drawing: Drawing, room: int, keep_share: float
) -> list[Placed]:
    """Drops from the end until what is wanted fits, or only keep_share of the room is left."""
    sizes = _sizes(kept, drawing)
    used = sum(sizes)
    here = {one.candidate.id for one in kept}
    cost = {one.id: drawing.cost_of(one) + drawing.heading_cost(one) for one in wanted}
    missing = sum(size for name, size in cost.items() if name not in here)
    count = len(kept)
    while count and used + missing > room and used - sizes[count - 1] >= keep_share * room:
        count -= 1
        used -= sizes[count]
        missing += cost.get(kept[count].candidate.id, 0)
    return _whole_parts(kept[:count], drawing, kept[count].part if count < len(kept) else None)


def _append(
    shown: Shown, wanted: Iterable[Candidate], drawing: Drawing, room: int, *, memories_only: bool = False
) -> None:
    """Of those that are not shown yet, the first that fit into what is left of the room, in the order of their time."""
    here = {one.candidate.id for one in shown.all}
    left = room - sum(_sizes(shown.all, drawing))
    fresh = [one for one in wanted if one.id not in here and not (memories_only and one.hit.memory is None)]
    fresh, _ = drawing.fill(fresh, room=left)
    part = shown.all[-1].part + 1 if shown.all else 1
    for one in sorted(fresh, key=lambda one: one.in_time):
        if one.hit.memory is None:
            shown.pending.append(Placed(one, part + 1))
        else:
            shown.new.append(Placed(one, part))
