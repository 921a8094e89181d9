"""What was said: scopes, sessions, messages, and the events that carry them into memory."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from ..validation import MAX_NAME_CHARS as MAX_NAME_CHARS
from .base import PublicModel
from .tenancy import Project


class Scope(models.Model):
    """Whose memory it is: one user, agent and app of a project. Its events are processed one at a time.

    A run has no scope of its own (facts outlive a run), unless it is all that was named: two runs of nobody in
    particular must not learn from each other.
    """

    project = models.ForeignKey(Project, models.CASCADE, related_name="scopes")
    user_id = models.CharField(max_length=MAX_NAME_CHARS, null=True)
    agent_id = models.CharField(max_length=MAX_NAME_CHARS, null=True)
    app_id = models.CharField(max_length=MAX_NAME_CHARS, null=True)
    run_id = models.CharField(max_length=MAX_NAME_CHARS, null=True)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["project", "user_id", "agent_id", "app_id", "run_id"],
                name="scope_unique",
                nulls_distinct=False,
            ),
            models.CheckConstraint(
                condition=Q(user_id__isnull=False)
                | Q(agent_id__isnull=False)
                | Q(app_id__isnull=False)
                | Q(run_id__isnull=False),
                name="scope_names_someone",
            ),
        ]
        indexes = [
            models.Index(fields=["project", "agent_id"], name="scope_agent"),
            models.Index(fields=["project", "app_id"], name="scope_app"),
        ]

    def __str__(self) -> str:
        named = {k: getattr(self, k) for k in ("user_id", "agent_id", "app_id", "run_id")}
        return ", ".join(f"{k}={v}" for k, v in named.items() if v is not None)


class SessionQuerySet(models.QuerySet["Session"]):
    def needing_summary(self, num_new: int) -> SessionQuerySet:
        """Sessions with at least num_new messages that their summary does not know, and nothing left to process."""
        behind = self.filter(num_messages__gt=F("summary_seq") + num_new)
        due = behind.filter(Q(summary_retry_at=None) | Q(summary_retry_at__lte=timezone.now()))
        return due.exclude(messages__event__status__in=["PENDING", "RUNNING"]).order_by("last_said_at")


class Session(PublicModel):
    """The messages of one run in a scope; those that name no run share one session."""

    scope = models.ForeignKey(Scope, models.CASCADE, related_name="sessions")
    run_id = models.CharField(max_length=MAX_NAME_CHARS, null=True)
    summary = models.TextField(blank=True, default="")
    summary_seq = models.IntegerField(default=-1)  # the last message that the summary knows
    summary_retry_at = models.DateTimeField(null=True)
    num_messages = models.IntegerField(default=0)
    created_at = models.DateTimeField(default=timezone.now)
    first_said_at = models.DateTimeField(null=True)
    last_said_at = models.DateTimeField(null=True)

    objects = SessionQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["scope", "run_id"], name="session_run_unique", nulls_distinct=False)
        ]
        indexes = [models.Index(fields=["run_id"], name="session_run")]

    def __str__(self) -> str:
        return self.run_id or str(self.public_id)


class EventStatus(models.TextChoices):
    PENDING = "PENDING"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"


class EventQuerySet(models.QuerySet["Event"]):
    def without_memories(self) -> EventQuerySet:
        """Events whose messages no memory stands for (yet): waiting, running or failed."""
        return self.filter(status__in=["PENDING", "RUNNING", "FAILED"])

    def unfinished(self) -> EventQuerySet:
        return self.filter(status__in=[EventStatus.PENDING, EventStatus.RUNNING])


class Event(PublicModel):
    """One piece of work that was accepted: its id is the order of arrival.

    options: what the caller asked for beside the messages (metadata, infer, ...). claim: the token of the worker
    that holds it; a worker that lost its claim cannot finish it.
    """

    class Type(models.TextChoices):
        ADD = "ADD"
        DELETE = "DELETE"
        CATEGORIZE = "CATEGORIZE"
        PROFILE = "PROFILE"
        SUMMARY = "SUMMARY"
        DOCUMENT = "DOCUMENT"

    project = models.ForeignKey(Project, models.CASCADE, related_name="events")
    scope = models.ForeignKey(Scope, models.CASCADE, null=True, related_name="events")
    type = models.CharField(max_length=10, choices=Type.choices)
    status = models.CharField(max_length=10, choices=EventStatus.choices, default=EventStatus.PENDING)
    options = models.JSONField(default=dict)
    results = models.JSONField(default=list)
    notes = models.JSONField(default=list)
    error = models.TextField(blank=True, default="")
    num_attempts = models.IntegerField(default=0)
    claim = models.UUIDField(null=True)
    retry_at = models.DateTimeField(null=True)
    request_id = models.CharField(max_length=64, blank=True, default="")
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)
    started_at = models.DateTimeField(null=True)
    completed_at = models.DateTimeField(null=True)

    objects = EventQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(status__in=EventStatus.values), name="event_status_known"),
            models.CheckConstraint(
                condition=~Q(status=EventStatus.FAILED) | ~Q(error=""), name="event_failure_has_reason"
            ),
        ]
        indexes = [
            models.Index(
                fields=["scope", "id"],
                name="event_unfinished",
                condition=Q(status__in=["PENDING", "RUNNING"]),
            ),
            models.Index(F("project"), F("id").desc(), name="event_project"),
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.public_id} {self.status}"


class Message(PublicModel):
    """One thing said. `said_at` is when it was said, `created_at` when we were told.

    client_id is the caller's own id: unique in its session, so that an add sent twice changes nothing.
    """

    session = models.ForeignKey(Session, models.CASCADE, related_name="messages")
    event = models.ForeignKey(Event, models.CASCADE, related_name="messages")
    seq = models.IntegerField()
    client_id = models.CharField(max_length=MAX_NAME_CHARS, null=True)
    role = models.CharField(max_length=20)
    name = models.CharField(max_length=MAX_NAME_CHARS, null=True)
    content = models.TextField()
    said_at = models.DateTimeField()
    created_at = models.DateTimeField(default=timezone.now)
    withdrawn_at = models.DateTimeField(null=True)  # deleted by request before a memory was made of it

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["session", "seq"], name="message_seq_unique"),
            models.UniqueConstraint(fields=["session", "client_id"], name="message_client_id_unique"),
        ]

    def __str__(self) -> str:
        return f"{self.name or self.role}: {self.content[:60]}"


class CompletionUsage(models.Model):
    """What one call of a language model cost, what for, and for whom. cost_usd: null where no price is known."""

    event = models.ForeignKey(Event, models.SET_NULL, null=True, related_name="usage")
    project = models.ForeignKey(Project, models.CASCADE, related_name="usage")
    scope = models.ForeignKey(Scope, models.SET_NULL, null=True, related_name="usage")
    user_id = models.CharField(max_length=MAX_NAME_CHARS, null=True)
    model = models.CharField(max_length=200)
    purpose = models.CharField(max_length=50)
    prompt_tokens = models.IntegerField()
    completion_tokens = models.IntegerField()
    latency_ms = models.FloatField()
    cost_usd = models.DecimalField(max_digits=12, decimal_places=8, null=True)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        indexes = [models.Index(fields=["project", "created_at"], name="usage_project")]

    def __str__(self) -> str:
        return f"{self.model} {self.purpose}"
