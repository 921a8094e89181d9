"""What stays of a deletion: that it was, of what kind, how much, when and by whom; nothing of what was said."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q

from .base import PublicModel
from .conversation import MAX_NAME_CHARS
from .tenancy import ApiKey, Project

ENTITY_TYPES = ("user", "agent", "app", "run")


class ForgettingReceipt(PublicModel):
    """public_id is the deletion event's. name_hash: see forgetting.hash_name; name: only where the operator wants it.

    counts: rows by kind. key_prefix and key_name outlive the key. Rows are only ever added.
    """

    project = models.ForeignKey(Project, models.CASCADE, related_name="forgetting_receipts")
    entity_type = models.CharField(max_length=5)
    name_hash = models.CharField(max_length=64)
    name = models.CharField(max_length=MAX_NAME_CHARS, null=True)
    counts = models.JSONField(default=dict)
    api_key = models.ForeignKey(ApiKey, models.SET_NULL, null=True, related_name="+")
    key_prefix = models.CharField(max_length=16, blank=True, default="")
    key_name = models.CharField(max_length=200, blank=True, default="")
    request_id = models.CharField(max_length=64, blank=True, default="")
    requested_at = models.DateTimeField()
    completed_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(entity_type__in=ENTITY_TYPES), name="receipt_entity_type_known"),
            models.CheckConstraint(condition=Q(name_hash__regex="^[0-9a-f]{64}$"), name="receipt_name_hashed"),
            models.CheckConstraint(condition=Q(completed_at__gte=F("requested_at")), name="receipt_times_ordered"),
        ]
        indexes = [
            models.Index(F("project"), F("id").desc(), name="receipt_project"),
            models.Index(fields=["project", "entity_type", "name_hash"], name="receipt_name"),
        ]

    def __str__(self) -> str:
        return f"{self.entity_type} forgotten {self.completed_at:%Y-%m-%d}"
