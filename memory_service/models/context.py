"""What a session's stable context already shows."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.utils import timezone

from .tenancy import Project

LEDGER_DAYS = 7  # without a call; after that the session's next context begins anew


def in_some_days() -> datetime:
    return timezone.now() + timedelta(days=LEDGER_DAYS)


class ContextLedger(models.Model):
    """The memories that the context of one session shows, in their order, so that the next one begins with the same.

    key_hash: SHA-256 of the caller's name for the session. shape: of all that the text depends on beside the memories
    (format, tokenizer, budget); where it changes, a new epoch begins. entries: one object a memory, {"memory": its row,
    "part": n, "hash": of what was shown of it, "kept": its sentences that were shown, or null for all}. No text is
    kept: it is drawn anew from the memories, and the hash says whether it is still the same.
    scope_ids: of those memories; who forgets one of them forgets the row.
    """

    project = models.ForeignKey(Project, models.CASCADE, related_name="context_ledgers")
    key_hash = models.CharField(max_length=64)
    shape = models.CharField(max_length=64, blank=True, default="")
    epoch = models.IntegerField(default=0)
    entries = models.JSONField(default=list)
    scope_ids = ArrayField(models.BigIntegerField(), default=list)
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField(default=in_some_days)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project", "key_hash"], name="context_ledger_unique"),
            models.CheckConstraint(condition=Q(key_hash__regex="^[0-9a-f]{64}$"), name="context_ledger_key_hashed"),
        ]
        indexes = [models.Index(fields=["expires_at"], name="context_ledger_expiry")]

    def __str__(self) -> str:
        return f"context of project {self.project_id}, epoch {self.epoch}, {len(self.entries)} memories"
