"""Questions that were answered, and what people said of the answers."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models import Q
from django.utils import timezone
from pgvector.django import VectorField

from .base import PublicModel
from .embedding import EmbeddingProfile
from .tenancy import Project

ANSWER_DAYS = 30  # after that an answer that nobody judged is removed


def until_dropped() -> datetime:
    return timezone.now() + timedelta(days=ANSWER_DAYS)


class AnswerQuerySet(models.QuerySet["Answer"]):
    def in_project(self, project: Project) -> AnswerQuerySet:
        return self.filter(project=project)

    def naming(self, name: str) -> AnswerQuerySet:
        """Whose filter names this user, agent, app or run."""
        return self.filter(names__contains=[name])

    def about(self, name: str) -> AnswerQuerySet:
        """What may speak of them without having anything of their scopes."""
        return self.filter(Q(names__contains=[name]) | Q(whole_project=True))


class Answer(PublicModel):
    """One question and its answer.

    filter_hash: of what the filter means; the same hash, the same memories that might be looked at. scope_ids, names:
    whose memories it may speak of, and whom its filter names; when one of them is forgotten the row goes too, and with
    whole_project when anybody is. query_vector: of a corrected answer's question, under `profile`. expires_at: null is
    never, for a judged answer.
    """

    class Method(models.TextChoices):
        LLM = "llm"
        EXTRACTIVE = "extractive"

    project = models.ForeignKey(Project, models.CASCADE, related_name="answers")
    filters = models.JSONField(null=True)
    filter_hash = models.CharField(max_length=64)
    names = ArrayField(models.TextField(), default=list)
    scope_ids = ArrayField(models.BigIntegerField(), default=list)
    whole_project = models.BooleanField(default=False)
    query = models.TextField()
    text = models.TextField()
    value = models.TextField(null=True)
    method = models.CharField(max_length=10, choices=Method.choices)
    model = models.CharField(max_length=200, blank=True, default="")
    known = models.BooleanField()
    grounded = models.BooleanField()
    citations = models.JSONField(default=list)
    notes = models.JSONField(default=list)
    rounds = models.JSONField(default=list)
    top_k = models.IntegerField()
    correct = models.BooleanField(null=True)
    corrected_answer = models.TextField(blank=True, default="")
    judged_at = models.DateTimeField(null=True)
    query_vector = VectorField(null=True)
    profile = models.ForeignKey(EmbeddingProfile, models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField(null=True, default=until_dropped)

    objects = AnswerQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(method__in=["llm", "extractive"]), name="answer_method_known"),
            models.CheckConstraint(
                condition=Q(corrected_answer="") | Q(correct=False), name="answer_corrected_only_where_wrong"
            ),
            models.CheckConstraint(
                condition=Q(grounded=False) | ~Q(citations=[]), name="answer_grounded_has_citations"
            ),
        ]
        indexes = [
            models.Index(fields=["project", "-id"], name="answer_project"),
            models.Index(fields=["expires_at"], name="answer_expiry", condition=Q(expires_at__isnull=False)),
            models.Index(
                fields=["project", "filter_hash", "-id"],
                name="answer_corrected",
                condition=~Q(corrected_answer=""),
            ),
            GinIndex(fields=["scope_ids"], name="answer_scopes"),
        ]

    def __str__(self) -> str:
        return f"{self.query[:60]} -> {self.text[:60]}"
