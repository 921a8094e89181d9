"""What was remembered: memories, their revisions, sources, entities, and the words and vectors they are found by."""

from __future__ import annotations

import hashlib
from datetime import datetime

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models import F, Func, Q, Value
from django.utils import timezone

from .base import PublicModel
from .conversation import MAX_NAME_CHARS, Event, Message, Scope, Session
from .tenancy import Project

POSITIONS_PER_MESSAGE = 1000  # of Memory.position: room for the parts of a long message


class MemoryState(models.TextChoices):
    """live: returned. superseded: a later memory took its place. deleted: by request. quarantined: not grounded."""

    LIVE = "live"
    SUPERSEDED = "superseded"
    DELETED = "deleted"
    QUARANTINED = "quarantined"


class MemoryQuerySet(models.QuerySet["Memory"]):
    def in_project(self, project: Project) -> MemoryQuerySet:
        return self.filter(project=project)

    def live(self) -> MemoryQuerySet:
        return self.filter(state=MemoryState.LIVE)

    def for_rendering(self) -> MemoryQuerySet:
        """With the outward ids of what a memory points at, without reading those rows."""
        return self.annotate(session_name=F("session__public_id"), replaced_by_name=F("replaced_by__public_id"))

    def unexpired(self, at: datetime) -> MemoryQuerySet:
        return self.filter(Q(expiration_date__isnull=True) | Q(expiration_date__gte=at.date()))


class Memory(PublicModel):
    """One thing remembered, one version of it: a change closes this row and opens another, or is in its revisions.

    valid_at / invalid_at: when it is true in the world. created_at / expired_at: when we knew it. said_at: when it
    was said; the protocol calls that created_at. position: its place in its session, for neighbours.
    The entity ids are the scope's and the session's, repeated here so that a filter touches one table.
    """

    class Kind(models.TextChoices):
        EPISODIC = "episodic"
        SEMANTIC = "semantic"
        PROCEDURAL = "procedural"

    project = models.ForeignKey(Project, models.CASCADE, related_name="memories")
    scope = models.ForeignKey(Scope, models.CASCADE, related_name="memories")
    session = models.ForeignKey(Session, models.CASCADE, null=True, related_name="memories")
    user_id = models.CharField(max_length=MAX_NAME_CHARS, null=True)
    agent_id = models.CharField(max_length=MAX_NAME_CHARS, null=True)
    app_id = models.CharField(max_length=MAX_NAME_CHARS, null=True)
    run_id = models.CharField(max_length=MAX_NAME_CHARS, null=True)

    kind = models.CharField(max_length=12, choices=Kind.choices)
    state = models.CharField(max_length=12, choices=MemoryState.choices, default=MemoryState.LIVE)
    text = models.TextField()
    text_hash = models.CharField(max_length=32)
    text_version = models.IntegerField(default=1, db_default=1)  # with the id it names a text, and so a vector
    speaker = models.CharField(max_length=MAX_NAME_CHARS, null=True)
    position = models.BigIntegerField(null=True)
    num_terms = models.IntegerField(default=0)
    traits = models.BigIntegerField(default=0, db_default=0)  # traits.py: who says it, whether it asks, what it names
    subject = models.TextField(null=True)
    attribute = models.TextField(null=True)
    value = models.TextField(null=True)
    confidence = models.FloatField(default=1.0)

    metadata = models.JSONField(default=dict)
    categories = ArrayField(models.TextField(), default=list)
    immutable = models.BooleanField(default=False)
    expiration_date = models.DateField(null=True)
    feedback = models.CharField(max_length=15, null=True)
    feedback_reason = models.TextField(null=True)

    said_at = models.DateTimeField()
    valid_at = models.DateTimeField(null=True)
    invalid_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)
    expired_at = models.DateTimeField(null=True)
    replaced_by = models.ForeignKey("self", models.SET_NULL, null=True, related_name="replaces")

    objects = MemoryQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["scope", "run_id", "text_hash"],
                name="memory_text_unique_while_live",
                condition=Q(state="live"),
                nulls_distinct=False,
            ),
            models.CheckConstraint(condition=Q(state__in=MemoryState.values), name="memory_state_known"),
            models.CheckConstraint(
                # A plan that was dropped ends before it would have begun, but not before it was made.
                condition=Q(invalid_at__isnull=True)
                | Q(valid_at__isnull=True)
                | Q(invalid_at__gte=F("valid_at"))
                | Q(invalid_at__gte=F("said_at")),
                name="memory_valid_before_invalid",
            ),
            models.CheckConstraint(condition=~Q(text=""), name="memory_has_text"),
        ]
        indexes = [
            models.Index(fields=["scope", "id"], name="memory_live", condition=Q(state="live")),
            models.Index(fields=["project", "said_at"], name="memory_project_live", condition=Q(state="live")),
            models.Index(fields=["project", "run_id"], name="memory_run", condition=Q(run_id__isnull=False)),
            models.Index(
                fields=["expiration_date"],
                name="memory_expiry",
                condition=Q(state="live", expiration_date__isnull=False),
            ),
            GinIndex(fields=["categories"], name="memory_categories"),
            models.Index(
                fields=["scope"],
                include=["feedback"],
                name="memory_feedback",
                condition=Q(state="live", feedback__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return self.text[:80]


def hash_text(text: str) -> str:
    """The protocol's `hash`: MD5 of the text. It tells texts apart; it guards nothing."""
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


class MemoryRevision(PublicModel):
    """One step in a memory's life, with what caused it. Rows are only ever added."""

    class Operation(models.TextChoices):
        ADD = "ADD"
        UPDATE = "UPDATE"
        DELETE = "DELETE"
        CATEGORIZE = "CATEGORIZE"

    memory = models.ForeignKey(Memory, models.CASCADE, related_name="revisions")
    event = models.ForeignKey(Event, models.SET_NULL, null=True, related_name="revisions")
    operation = models.CharField(max_length=10, choices=Operation.choices)
    old_text = models.TextField(null=True)
    new_text = models.TextField(null=True)
    reason = models.TextField(blank=True, default="")
    policy = models.CharField(max_length=20)
    message_ids = ArrayField(models.BigIntegerField(), default=list)
    metadata = models.JSONField(null=True)
    categories = ArrayField(models.TextField(), default=list)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        indexes = [models.Index(fields=["memory", "id"], name="revision_memory")]

    def __str__(self) -> str:
        return f"{self.operation} {self.new_text or self.old_text}"


class MemorySource(models.Model):
    """The characters of a message that a memory rests on: content[start:end]."""

    memory = models.ForeignKey(Memory, models.CASCADE, related_name="sources")
    message = models.ForeignKey(Message, models.CASCADE, related_name="memory_sources")
    start = models.IntegerField()
    end = models.IntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["memory", "message", "start"], name="source_unique"),
            models.CheckConstraint(condition=Q(start__gte=0, end__gte=F("start")), name="source_span_ordered"),
        ]

    def __str__(self) -> str:
        return f"{self.message_id}[{self.start}:{self.end}]"


class Entity(PublicModel):
    """A person, place, organisation, thing or event named in a scope.

    discriminator: tells it from others of the same name ("sister of ann"). is_ambiguous: also stands for mentions of
    which it is not known whom of that name they mean. merged_into: it is one with that entity, which has its rows now.
    version: of the scope's GraphState when the row last changed.
    """

    scope = models.ForeignKey(Scope, models.CASCADE, related_name="entities")
    name = models.CharField(max_length=MAX_NAME_CHARS)
    normal_name = models.CharField(max_length=MAX_NAME_CHARS)
    discriminator = models.CharField(max_length=MAX_NAME_CHARS, blank=True, default="", db_default="")
    type = models.CharField(max_length=20)
    description = models.TextField(blank=True, default="", db_default="")
    is_ambiguous = models.BooleanField(default=False, db_default=False)
    num_mentions = models.IntegerField(default=0, db_default=0)
    last_mentioned_at = models.DateTimeField(null=True)
    merged_into = models.ForeignKey("self", models.SET_NULL, null=True, related_name="merged_from")
    version = models.BigIntegerField(default=0, db_default=0)
    created_at = models.DateTimeField(default=timezone.now)
    memories: models.ManyToManyField[Memory, MemoryEntity] = models.ManyToManyField(
        Memory, through="MemoryEntity", related_name="entities"
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["scope", "normal_name", "discriminator"], name="entity_name_unique"),
            models.CheckConstraint(
                condition=Q(merged_into__isnull=True) | ~Q(merged_into=F("id")), name="entity_not_merged_into_itself"
            ),
        ]
        indexes = [
            models.Index(fields=["scope", "version"], name="entity_changed"),
            # "Anna" may mean "Anna Smith".
            models.Index(
                F("scope"),
                Func(F("normal_name"), Value(" "), Value(1), function="split_part", output_field=models.CharField()),
                name="entity_given_name",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class MemoryEntity(models.Model):
    memory = models.ForeignKey(Memory, models.CASCADE, related_name="entity_links")
    entity = models.ForeignKey(Entity, models.CASCADE, related_name="memory_links")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["memory", "entity"], name="memory_entity_unique")]

    def __str__(self) -> str:
        return f"{self.memory_id} names {self.entity_id}"


class Posting(models.Model):
    """How often a term (a stem) stands in a memory: what BM25 is computed from. See lexical.py."""

    pk = models.CompositePrimaryKey("scope_id", "term", "memory_id")
    scope = models.ForeignKey(Scope, models.CASCADE, db_index=False)
    term = models.CharField(max_length=64)
    memory = models.ForeignKey(Memory, models.CASCADE)
    tf = models.SmallIntegerField()

    def __str__(self) -> str:
        return f"{self.term} x{self.tf} in {self.memory_id}"
