"""The statements that memories in time are folded from, and the endings that wait for a person."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils import timezone

from .base import PublicModel
from .conversation import Event, Message, Scope
from .memory import Memory


class AssertionQuerySet(models.QuerySet["Assertion"]):
    def active(self) -> AssertionQuerySet:
        return self.filter(status__in=[Assertion.Status.OPEN, Assertion.Status.APPROVED, Assertion.Status.REFUSED])


class Assertion(models.Model):
    """One statement of one message: a subject, an attribute, a value, and since when. See timeline.py.

    memory: the version that it stands in. status: open, or a person's word on whether it may end others (approved,
    refused); suppressed by a person who deleted or rewrote what it said, so that it never comes back; or withdrawn,
    no longer counted, without a word on what is said later.
    """

    class Status(models.TextChoices):
        OPEN = "open"
        APPROVED = "approved"
        REFUSED = "refused"
        SUPPRESSED = "suppressed"
        WITHDRAWN = "withdrawn"

    scope = models.ForeignKey(Scope, models.CASCADE, related_name="assertions", db_index=False)
    memory = models.ForeignKey(Memory, models.CASCADE, null=True, related_name="assertions")
    event = models.ForeignKey(Event, models.SET_NULL, null=True, related_name="+")
    message = models.ForeignKey(Message, models.CASCADE, null=True, related_name="assertions")
    start = models.IntegerField(default=0)
    end = models.IntegerField(default=0)
    subject = models.TextField()
    subject_key = models.TextField()
    attribute = models.TextField()
    value = models.TextField(null=True)
    single = models.BooleanField()
    text = models.TextField()
    polarity = models.CharField(max_length=5, default="holds")
    valid_at = models.DateTimeField(null=True)  # as the statement says, perhaps to come
    at = models.DateTimeField()  # since when it counts
    said_at = models.DateTimeField()
    until = models.DateTimeField(null=True)
    dated = models.BooleanField(default=False)
    corrects = models.BooleanField(default=False)
    instead_of = models.TextField(null=True)
    silent = models.BooleanField(default=False)
    by_hand = models.BooleanField(default=False)
    confidence = models.FloatField(default=1.0)
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.OPEN)
    created_at = models.DateTimeField(default=timezone.now)

    objects = AssertionQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(polarity__in=["holds", "ended", "never"]), name="assertion_polarity"),
            models.CheckConstraint(
                condition=Q(status__in=["open", "approved", "refused", "suppressed", "withdrawn"]),
                name="assertion_status",
            ),
        ]
        indexes = [models.Index(fields=["scope", "subject_key", "attribute"], name="assertion_timeline")]

    def __str__(self) -> str:
        return f"{self.subject} {self.attribute} {self.value} ({self.polarity})"


class Review(PublicModel):
    """An ending that waits for a person: would `memory` be ended by `assertion`, or by the memory `by`?"""

    class Status(models.TextChoices):
        PENDING = "pending"
        ACCEPTED = "accepted"
        REJECTED = "rejected"
        OBSOLETE = "obsolete"  # what it was about has changed meanwhile

    scope = models.ForeignKey(Scope, models.CASCADE, related_name="reviews")
    memory = models.ForeignKey(Memory, models.CASCADE, related_name="reviews")
    by = models.ForeignKey(Memory, models.CASCADE, null=True, related_name="+")
    assertion = models.ForeignKey(Assertion, models.CASCADE, null=True, related_name="reviews")
    event = models.ForeignKey(Event, models.SET_NULL, null=True, related_name="+")
    reason = models.TextField()
    confidence = models.FloatField()
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.PENDING)
    created_at = models.DateTimeField(default=timezone.now)
    decided_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(assertion__isnull=False) | Q(by__isnull=False), name="review_has_cause"),
            models.UniqueConstraint(fields=["memory", "assertion"], name="review_of_assertion_once"),
            models.UniqueConstraint(fields=["memory", "by"], name="review_of_memory_once"),
            models.CheckConstraint(
                condition=Q(status__in=["pending", "accepted", "rejected", "obsolete"]), name="review_status"
            ),
        ]
        indexes = [models.Index(fields=["scope", "id"], name="review_pending", condition=Q(status="pending"))]

    def __str__(self) -> str:
        return f"{self.status}: {self.reason}"
