"""Vectors of several models side by side, in one table with an index per profile."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils import timezone
from pgvector.django import VectorField

from .conversation import Scope
from .memory import Memory


class EmbeddingProfile(models.Model):
    """What made a set of vectors. One profile serves; a reindex fills another beside it.

    Each has an HNSW index over its own rows, cast to its own dimensions: embedding.create_index makes it.
    """

    class State(models.TextChoices):
        BUILDING = "building"
        SERVING = "serving"
        RETIRED = "retired"

    model = models.CharField(max_length=200)
    revision = models.CharField(max_length=100, default="")
    dimensions = models.IntegerField()
    situated = models.BooleanField(default=False)
    template = models.CharField(max_length=200, default="{text}")
    state = models.CharField(max_length=10, choices=State.choices, default=State.BUILDING)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["model", "revision", "dimensions", "situated", "template"], name="profile_unique"
            ),
            models.UniqueConstraint(fields=["state"], name="profile_one_serves", condition=Q(state="serving")),
            models.CheckConstraint(condition=Q(dimensions__range=(1, 2000)), name="profile_dimensions_indexable"),
        ]

    def __str__(self) -> str:
        return f"{self.model} ({self.dimensions})"


class Embedding(models.Model):
    """The vector of one memory under one profile; scope is repeated for search."""

    profile = models.ForeignKey(EmbeddingProfile, models.CASCADE, related_name="embeddings", db_index=False)
    memory = models.ForeignKey(Memory, models.CASCADE, related_name="embeddings")
    scope = models.ForeignKey(Scope, models.CASCADE)
    vector = VectorField()  # dimensionless: the profile says how many

    class Meta:
        constraints = [models.UniqueConstraint(fields=["profile", "memory"], name="embedding_unique")]

    def __str__(self) -> str:
        return f"memory {self.memory_id} under profile {self.profile_id}"
