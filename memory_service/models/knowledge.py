"""The knowledge graph: what entities are called, how they are related, and which were found to be one."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from pgvector.django import VectorField

from .base import PublicModel
from .conversation import MAX_NAME_CHARS, Scope
from .embedding import EmbeddingProfile
from .memory import Entity, Memory

MAX_TYPE_CHARS = 64


class GraphState(models.Model):
    """How often a scope's entities and relations have changed: what a process keeps of a graph is true at a version.

    Whoever writes entities or relations raises `version` first, and so holds the row until its transaction ends: the
    versions on rows are in the order of commits. rebuilt_at: the last version at which rows were destroyed, set by a
    trigger; what is older than that cannot be brought up to date by reading newer rows.
    """

    scope = models.OneToOneField(Scope, models.CASCADE, primary_key=True, related_name="graph_state")
    version = models.BigIntegerField(default=0)
    rebuilt_at = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return f"graph of scope {self.scope_id} at version {self.version}"


class EntityAlias(models.Model):
    """Another name of an entity, with what it is known from: fuller_name, kinship, merge, request."""

    scope = models.ForeignKey(Scope, models.CASCADE, db_index=False, related_name="+")
    entity = models.ForeignKey(Entity, models.CASCADE, related_name="aliases")
    name = models.CharField(max_length=MAX_NAME_CHARS)
    normal_name = models.CharField(max_length=MAX_NAME_CHARS)
    source = models.CharField(max_length=20)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["scope", "normal_name", "entity"], name="entity_alias_unique"),
            models.CheckConstraint(condition=~Q(normal_name=""), name="entity_alias_has_name"),
        ]

    def __str__(self) -> str:
        return self.name


class EntityEmbedding(models.Model):
    """The vector of an entity's name under a profile, filled in the background.

    A row of its own: an entity's row is rewritten each time it is mentioned.
    """

    entity = models.OneToOneField(Entity, models.CASCADE, primary_key=True, related_name="embedding")
    profile = models.ForeignKey(EmbeddingProfile, models.CASCADE, related_name="+")
    scope = models.ForeignKey(Scope, models.CASCADE, related_name="+")
    vector = VectorField()  # dimensionless: the profile says how many

    def __str__(self) -> str:
        return f"entity {self.entity_id} under profile {self.profile_id}"


class RelationQuerySet(models.QuerySet["Relation"]):
    def open(self) -> RelationQuerySet:
        return self.filter(expired_at__isnull=True)


class Relation(PublicModel):
    """source --type--> target: one span of time in which it held, as far as we know.

    valid_at / invalid_at: when it is true in the world. created_at / expired_at: when we knew it. Closed relations
    stay. version: of the scope's GraphState when the row last changed.
    """

    class Origin(models.TextChoices):
        """llm: a model said so. pattern: a plain statement did. co_occurrence: both stand in one memory, no more."""

        LLM = "llm"
        PATTERN = "pattern"
        CO_OCCURRENCE = "co_occurrence"

    scope = models.ForeignKey(Scope, models.CASCADE, db_index=False, related_name="relations")
    source = models.ForeignKey(Entity, models.CASCADE, related_name="relations_out")
    target = models.ForeignKey(Entity, models.CASCADE, related_name="relations_in")
    type = models.CharField(max_length=MAX_TYPE_CHARS)
    text = models.TextField()
    origin = models.CharField(max_length=13, choices=Origin.choices)
    confidence = models.FloatField(default=1.0)
    num_mentions = models.IntegerField(default=1)
    valid_at = models.DateTimeField(null=True)
    invalid_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(default=timezone.now)
    expired_at = models.DateTimeField(null=True)
    version = models.BigIntegerField(default=0)

    objects = RelationQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["scope", "source", "target", "type", "origin"],
                name="relation_one_open",
                condition=Q(expired_at__isnull=True),
            ),
            models.CheckConstraint(
                condition=Q(origin__in=["llm", "pattern", "co_occurrence"]), name="relation_origin_known"
            ),
            models.CheckConstraint(condition=~Q(source=F("target")), name="relation_joins_two"),
            models.CheckConstraint(condition=Q(confidence__gt=0, confidence__lte=1), name="relation_confidence_range"),
            models.CheckConstraint(condition=~Q(type=""), name="relation_has_type"),
            models.CheckConstraint(
                condition=Q(expired_at__isnull=True) | Q(invalid_at__isnull=False), name="relation_closed_has_end"
            ),
            models.CheckConstraint(
                condition=Q(invalid_at__isnull=True) | Q(valid_at__isnull=True) | Q(invalid_at__gte=F("valid_at")),
                name="relation_valid_before_invalid",
            ),
        ]
        indexes = [models.Index(fields=["scope", "version"], name="relation_changed")]

    def __str__(self) -> str:
        return self.text[:80]


class RelationSource(models.Model):
    """A memory that a relation rests on."""

    relation = models.ForeignKey(Relation, models.CASCADE, db_index=False, related_name="sources")
    memory = models.ForeignKey(Memory, models.CASCADE, related_name="relation_links")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["relation", "memory"], name="relation_source_unique")]

    def __str__(self) -> str:
        return f"{self.relation_id} rests on {self.memory_id}"


class EntityMerge(PublicModel):
    """Two entities that were found to be one. `moved` says what went over, so that it can be undone.

    A pair that was undone is never merged again by itself.
    """

    scope = models.ForeignKey(Scope, models.CASCADE, related_name="entity_merges")
    kept = models.ForeignKey(Entity, models.CASCADE, related_name="merges_kept")
    merged = models.ForeignKey(Entity, models.CASCADE, related_name="merges_lost")
    reason = models.TextField(blank=True, default="")
    similarity = models.FloatField(null=True)
    moved = models.JSONField(default=dict)
    created_at = models.DateTimeField(default=timezone.now)
    undone_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=~Q(kept=F("merged")), name="entity_merge_joins_two"),
            models.UniqueConstraint(fields=["merged"], name="entity_merged_once", condition=Q(undone_at__isnull=True)),
        ]

    def __str__(self) -> str:
        return f"{self.merged_id} into {self.kept_id}"
