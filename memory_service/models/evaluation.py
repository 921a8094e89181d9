"""What was measured: runs over questions with known evidence, a row for each question, what was ingested for them."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.utils import timezone

from .base import PublicModel
from .conversation import MAX_NAME_CHARS
from .tenancy import Project


class EvaluationStatus(models.TextChoices):
    PENDING = "PENDING"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


EVALUATION_UNFINISHED = (EvaluationStatus.PENDING, EvaluationStatus.RUNNING)


class EvaluationCorpus(models.Model):
    """A scratch project and what was ingested into it. key: a hash of the data and of all that ingestion depends on."""

    owner = models.ForeignKey(Project, models.CASCADE, related_name="evaluation_corpora")
    project = models.OneToOneField(Project, models.CASCADE, related_name="evaluation_corpus")
    key = models.CharField(max_length=64)
    kept = models.BooleanField(default=False)  # for a later run to use again
    num_messages = models.IntegerField(default=0)
    ingest_s = models.FloatField(default=0)
    ingested_at = models.DateTimeField(null=True)  # null: not whole yet
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["owner", "key"], name="evaluation_corpus_unique", condition=Q(kept=True)),
        ]

    def __str__(self) -> str:
        return f"corpus {self.key[:12]} in {self.project}"


class EvaluationRun(PublicModel):
    """One measurement. project: whose it is; where `over_own` is set, its own memories were asked.

    plan: what is to be done (evaluation.runner.Plan). content: the lines of a set that came through the API, until the
    run is over. circumstances: version, models, machine. scope_ids and entities: whose words may stand in the rows;
    when one of them is forgotten the run goes too.
    """

    project = models.ForeignKey(Project, models.CASCADE, related_name="evaluations")
    name = models.CharField(max_length=200, blank=True, default="")
    kind = models.CharField(max_length=20)
    source = models.CharField(max_length=MAX_NAME_CHARS, blank=True, default="")
    data_hash = models.CharField(max_length=64)
    over_own = models.BooleanField(default=False)
    plan = models.JSONField(default=dict)
    content = models.JSONField(null=True)
    circumstances = models.JSONField(default=dict)
    scope_ids = ArrayField(models.BigIntegerField(), default=list)
    entities = models.JSONField(default=list)
    status = models.CharField(max_length=10, choices=EvaluationStatus.choices, default=EvaluationStatus.PENDING)
    step = models.CharField(max_length=100, blank=True, default="")  # what it is at
    num_done = models.IntegerField(default=0)
    num_steps = models.IntegerField(default=0)  # questions to ask, over seeds and ablations
    summary = models.JSONField(default=dict)
    notes = models.JSONField(default=list)
    error = models.TextField(blank=True, default="")
    num_attempts = models.IntegerField(default=0)
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)
    completed_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(status__in=EvaluationStatus.values), name="evaluation_status_known"),
            models.CheckConstraint(
                condition=Q(kind__in=["locomo", "longmemeval", "beam", "qa-jsonl", "chunking"]),
                name="evaluation_kind_known",
            ),
            models.CheckConstraint(condition=~Q(status="FAILED") | ~Q(error=""), name="evaluation_failure_has_reason"),
        ]
        indexes = [models.Index(fields=["project", "-id"], name="evaluation_project")]

    def __str__(self) -> str:
        return f"evaluation {self.public_id} {self.status}"


class EvaluationScore(models.Model):
    """One question, asked once. variant: empty for the whole chain, or the stage that was left out.

    ranks: for each piece of evidence the rank of the first hit that cites it, or null.
    """

    run = models.ForeignKey(EvaluationRun, models.CASCADE, related_name="scores")
    variant = models.CharField(max_length=100, blank=True, default="")
    seed = models.IntegerField(default=0)
    number = models.IntegerField()  # in the order of the set
    question_id = models.CharField(max_length=MAX_NAME_CHARS)
    conversation = models.TextField()
    category = models.CharField(max_length=100, blank=True, default="")
    question = models.TextField()
    metrics = models.JSONField(default=dict)
    ranks = models.JSONField(default=dict)
    num_hits = models.IntegerField()
    num_over_cited = models.IntegerField(default=0)  # hits that cite too many messages to count
    latency_ms = models.FloatField()
    tokens = models.IntegerField()  # of the first ten hits, four characters each
    exact_tokens = models.IntegerField(null=True)  # the same by the tokenizer
    answer = models.TextField(blank=True, default="")  # the model's, where a judge was asked

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["run", "variant", "seed", "question_id"], name="evaluation_score_unique"),
            models.CheckConstraint(condition=Q(latency_ms__gte=0) & Q(tokens__gte=0), name="evaluation_score_sane"),
        ]
        indexes = [models.Index(fields=["run", "variant", "seed", "number"], name="evaluation_score_order")]

    def __str__(self) -> str:
        return f"{self.question_id} {self.variant}"
