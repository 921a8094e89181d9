"""What a memory's life leaves beside the memory itself: recalls, summaries, profiles, and what they may cost."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from .conversation import MAX_NAME_CHARS, Event, Session
from .memory import Memory
from .tenancy import Project


class LifecycleSettings(models.Model):
    """One project's choices; a project without a row has the defaults.

    decay_half_life_days: null is no decay. categories: the list that memories were last sorted into, which differs from
    the project's while a change waits for its task. profile_schema: null is the built-in one.
    """

    project = models.OneToOneField(Project, models.CASCADE, primary_key=True, related_name="lifecycle")
    decay_half_life_days = models.FloatField(null=True)
    categories = models.JSONField(default=list)
    profiles_enabled = models.BooleanField(default=False)
    profile_schema = models.JSONField(null=True)
    profile_instructions = models.TextField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(decay_half_life_days__isnull=True) | Q(decay_half_life_days__gt=0),
                name="lifecycle_half_life_positive",
            )
        ]

    def __str__(self) -> str:
        return f"lifecycle of project {self.project_id}"


class MemoryRecall(models.Model):
    """How often a memory was returned by a search, and when last.

    Beside `memory` and not in it: a write there tells every process that what it keeps of the scope is out of date.
    """

    memory = models.OneToOneField(Memory, models.CASCADE, primary_key=True, related_name="recall")
    num_recalls = models.BigIntegerField(default=0)
    last_recalled_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"memory {self.memory_id} recalled {self.num_recalls} times"


class SummaryNode(models.Model):
    """One summary in the tree of a session: of messages (level 0), or of the nodes one level below.

    index: its place in its level, from 0. children_hash: of all that it was made from; the same hash, the same node.
    asked_words: the length that was asked for; num_words: the length that came. workflow incremental: the one running
    summary of a live session.
    """

    class Workflow(models.TextChoices):
        HIERARCHICAL = "hierarchical"
        INCREMENTAL = "incremental"

    class Method(models.TextChoices):
        LLM = "llm"
        EXTRACTIVE = "extractive"

    session = models.ForeignKey(Session, models.CASCADE, related_name="summary_nodes")
    workflow = models.CharField(max_length=12, choices=Workflow.choices)
    level = models.IntegerField()
    index = models.IntegerField()
    first_seq = models.IntegerField()
    last_seq = models.IntegerField()
    text = models.TextField()
    source_words = models.IntegerField()
    asked_words = models.IntegerField()
    num_words = models.IntegerField()
    num_tokens = models.IntegerField()
    num_tries = models.IntegerField(default=1)
    method = models.CharField(max_length=10, choices=Method.choices)
    model = models.CharField(max_length=200, blank=True, default="")
    children_hash = models.CharField(max_length=64)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["session", "workflow", "level", "index"], name="summary_node_unique"),
            models.CheckConstraint(condition=Q(last_seq__gte=F("first_seq")), name="summary_node_range_ordered"),
            models.CheckConstraint(condition=Q(asked_words__gt=0), name="summary_node_asks_for_words"),
        ]

    def __str__(self) -> str:
        return f"level {self.level}, node {self.index} of session {self.session_id}"


class Profile(models.Model):
    """What is known of a user, in one JSON object. generated_at: null while there has been none yet."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="profiles")
    user_id = models.CharField(max_length=MAX_NAME_CHARS)
    profile = models.JSONField(null=True)
    generation_count = models.IntegerField(default=0)
    num_facts = models.IntegerField(default=0)
    method = models.CharField(max_length=10, blank=True, default="")
    notes = models.JSONField(default=list)
    error = models.TextField(blank=True, default="")
    generated_at = models.DateTimeField(null=True)
    retry_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project", "user_id"], name="profile_user_unique")]

    def __str__(self) -> str:
        return f"profile of {self.user_id}"


class IdempotencyKey(models.Model):
    """A request that must not be carried out twice: the same key returns the event of the first."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="+")
    key = models.CharField(max_length=MAX_NAME_CHARS)
    request_hash = models.CharField(max_length=64)
    event = models.ForeignKey(Event, models.CASCADE, related_name="idempotency_keys")
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project", "key"], name="idempotency_key_unique")]

    def __str__(self) -> str:
        return self.key


class Budget(models.Model):
    """How much a project may spend on language models, by the UTC day and month; null is no limit.

    prices: {model: {"prompt": USD, "completion": USD}} for a million tokens, over the price that LiteLLM knows.
    alarmed: the last alarm of each limit, {"monthly_usd": "2026-11 80"}, so that each is raised once.
    """

    project = models.OneToOneField(Project, models.CASCADE, primary_key=True, related_name="budget")
    daily_usd = models.DecimalField(max_digits=14, decimal_places=6, null=True)
    monthly_usd = models.DecimalField(max_digits=14, decimal_places=6, null=True)
    daily_tokens = models.BigIntegerField(null=True)
    monthly_tokens = models.BigIntegerField(null=True)
    prices = models.JSONField(default=dict)
    alarmed = models.JSONField(default=dict)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=(Q(daily_usd__isnull=True) | Q(daily_usd__gte=0))
                & (Q(monthly_usd__isnull=True) | Q(monthly_usd__gte=0))
                & (Q(daily_tokens__isnull=True) | Q(daily_tokens__gte=0))
                & (Q(monthly_tokens__isnull=True) | Q(monthly_tokens__gte=0)),
                name="budget_not_negative",
            )
        ]

    def __str__(self) -> str:
        return f"budget of project {self.project_id}"
