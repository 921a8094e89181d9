"""What a memory's life does to its rank: feedback, and decay where the project has asked for it.

    score' = min(1, score * feedback * decay)

Both factors are bounded and neither ever removes a memory. A memory without feedback, in a project without decay, keeps
its score to the last bit.

What searches return is counted (`note_recalls`), in the process and off the request's path: `flush_recalls` writes the
counts of many searches with one statement, after an answer has been sent. A process that is killed loses the counts of
its last FLUSH_INTERVAL_S seconds, no more.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
from django.core.signals import request_finished
from django.db import DatabaseError, connection, transaction
from django.utils import timezone
from numpy.typing import NDArray

from .models import LifecycleSettings, Project

logger = logging.getLogger(__name__)

FEEDBACK_FACTOR = {"POSITIVE": 1.2, "NEGATIVE": 0.6, "VERY_NEGATIVE": 0.3}
DECAY_FLOOR = 0.5  # an old memory that fits the question well still beats a fresh one that hardly does
MIN_HALF_LIFE_DAYS, MAX_HALF_LIFE_DAYS = 0.01, 36_500.0
SECONDS_A_DAY = 86_400.0
FLUSH_INTERVAL_S = 5.0
MAX_BUFFERED = 20_000  # memories; what is recalled beyond, before a flush, is not counted

TOUCHED = np.dtype([("id", ">i8"), ("at", ">f8")])

Scores = NDArray[np.float64]
Ids = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Effects:
    """feedback: memory id -> factor. half_life_days: None is no decay. at: the moment that age is counted from."""

    feedback: dict[int, float] = field(default_factory=dict)
    half_life_days: float | None = None
    at: datetime = field(default_factory=timezone.now)


@dataclass(frozen=True, slots=True)
class Adjusted:
    """scores: (N,). factors: for each effect, (N,) what each score was multiplied by; NaN where it had none."""

    scores: Scores
    factors: dict[str, Scores]

    def parts(self, row: int) -> dict[str, float]:
        """For explain."""
        found = {name: float(factors[row]) for name, factors in self.factors.items()}
        return {name: round(factor, 4) for name, factor in found.items() if not math.isnan(factor)}


def load_effects(project: Project, scope_ids: Sequence[int]) -> Effects:
    """One query, over an index that holds only the memories with feedback."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT NULL::bigint, NULL::text, decay_half_life_days FROM memory_service_lifecyclesettings "
            "WHERE project_id = %s AND decay_half_life_days IS NOT NULL UNION ALL "
            "SELECT id, feedback, NULL FROM memory_service_memory "
            "WHERE scope_id = ANY(%s) AND state = 'live' AND feedback IS NOT NULL",
            [project.pk, list(scope_ids)],
        )
        rows = cursor.fetchall()
    half_life = next((row[2] for row in rows if row[0] is None), None)
    return Effects({row[0]: FEEDBACK_FACTOR.get(row[1], 1.0) for row in rows if row[0] is not None}, half_life)


def adjust(scores: Scores, ids: Ids, effects: Effects, *, top: int) -> Adjusted:
    """scores, ids: (N,), aligned; neither is modified. top: how many the caller will look at.

    Decay is looked up only for memories that could be among the first `top` after it: it takes at most DECAY_FLOOR.
    """
    factors: dict[str, Scores] = {}
    if effects.feedback:
        factors["feedback"] = _feedback_factors(ids, effects.feedback)
        scores = np.minimum(1.0, scores * np.nan_to_num(factors["feedback"], nan=1.0))
    if effects.half_life_days is not None:
        factors["decay"] = _decay_factors(scores, ids, effects, top)
        scores = scores * np.nan_to_num(factors["decay"], nan=1.0)
    return Adjusted(scores, factors)


def _feedback_factors(ids: Ids, feedback: dict[int, float]) -> Scores:
    return _lookup(ids, np.fromiter(feedback, np.int64, len(feedback)), np.array(list(feedback.values())))


def _decay_factors(scores: Scores, ids: Ids, effects: Effects, top: int) -> Scores:
    assert effects.half_life_days is not None  # the caller looked
    worst = np.partition(scores, -top)[-top] * DECAY_FLOOR if len(scores) > top else 0.0
    known, touched_s = _last_touched(ids[(scores > 0) & (scores >= worst)].tolist())
    return _lookup(
        ids, known, decay_factor((effects.at.timestamp() - touched_s) / SECONDS_A_DAY, effects.half_life_days)
    )


def _lookup(ids: Ids, known: Ids, values: Scores) -> Scores:
    """(N,) the value of each id; NaN for one that is not among the known."""
    found = np.full(len(ids), np.nan)
    if len(known):
        order = np.argsort(known)
        places = order[np.searchsorted(known, ids, sorter=order).clip(max=len(known) - 1)]
        found = np.where(known[places] == ids, values[places], np.nan)
    return found


def decay_factor(age_days: Any, half_life_days: float) -> Any:
    """From 1 for what was touched now down to DECAY_FLOOR: what is above the floor halves with each half-life.

    age_days: a number or an array; what lies in the future counts as now.
    """
    return DECAY_FLOOR + (1 - DECAY_FLOOR) * 0.5 ** (np.maximum(0.0, age_days) / half_life_days)


def _last_touched(memory_ids: list[int]) -> tuple[Ids, Scores]:
    """(their ids, when each was last recalled or updated, whichever is later, in seconds since 1970)"""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT string_agg(int8send(m.id) || float8send(extract(epoch FROM "
            "greatest(m.updated_at, r.last_recalled_at))::float8), ''::bytea) FROM memory_service_memory m "
            "LEFT JOIN memory_service_memoryrecall r ON r.memory_id = m.id WHERE m.id = ANY(%s)",
            [memory_ids],
        )
        row = cursor.fetchone()
    found = np.frombuffer((row[0] if row else None) or b"", TOUCHED)
    return found["id"].astype(np.int64), found["at"].astype(np.float64)


def set_decay(project: Project, half_life_days: float | None) -> None:
    """None turns it off."""
    LifecycleSettings.objects.update_or_create(project=project, defaults={"decay_half_life_days": half_life_days})


# Recalls

_lock = threading.Lock()
_recalled: dict[int, int] = {}
_last_flush = time.monotonic()


def note_recalls(memory_ids: Iterable[int]) -> None:
    """Only counts, in memory."""
    with _lock:
        for memory_id in memory_ids:
            if memory_id in _recalled or len(_recalled) < MAX_BUFFERED:
                _recalled[memory_id] = _recalled.get(memory_id, 0) + 1


def flush_recalls() -> int:
    """Writes what was counted since the last time, with one statement. Returns how many memories; gone ones are not."""
    global _last_flush
    with _lock:
        counted = dict(_recalled)
        _recalled.clear()
        _last_flush = time.monotonic()
    if not counted:
        return 0
    ids = sorted(counted)  # in one order, so that two processes wait for each other and do not deadlock
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO memory_service_memoryrecall (memory_id, num_recalls, last_recalled_at) "
            "SELECT m.id, c.n, %s FROM unnest(%s::bigint[], %s::bigint[]) WITH ORDINALITY AS c(id, n, place) "
            "JOIN memory_service_memory m ON m.id = c.id ORDER BY c.place "
            "ON CONFLICT (memory_id) DO UPDATE SET num_recalls = memory_service_memoryrecall.num_recalls "
            "+ excluded.num_recalls, last_recalled_at = excluded.last_recalled_at",
            [timezone.now(), ids, [counted[i] for i in ids]],
        )
        return int(cursor.rowcount)


def _after_answer(**_: Any) -> None:
    """Runs when an answer has been sent."""
    if not _recalled or time.monotonic() - _last_flush < FLUSH_INTERVAL_S:
        return
    try:
        flush_recalls()
    except DatabaseError as exc:
        logger.warning("the recalls of the last seconds were not counted: %s", exc)
    if not connection.in_atomic_block:  # as Django does after each request, which was before us
        connection.close_if_unusable_or_obsolete()


request_finished.connect(_after_answer, dispatch_uid="memory_service.ranking.flush_recalls")
