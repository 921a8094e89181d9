"""Documents, their texts, and the chunks that they are found by.

    Document          whose it is, what it is called: one row for each scope that has it
    DocumentContent   its bytes and its text: one row for each file of a project, whoever has it
    DocumentVersion   which content a document had, from when to when
    Chunking          a content cut by one strategy with its options
    DocumentChunking  which chunking a document is searched by (serving), and which it could go back to (retired)
    DocumentChunk     a span of the text
    Passage           the text of chunks, once for each wording of a project; vectors hang on it, under each profile
    ChunkTerm         for a term, the chunks of a chunking that hold it

A user's documents hang on the user's scope. Content, chunkings and passages are shared inside the project, and go with
the last document that has them (document_storage.destroy_orphans).
"""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from pgvector.django import VectorField

from .base import PublicModel
from .conversation import MAX_NAME_CHARS, Event, Scope
from .embedding import EmbeddingProfile
from .platform import JobStatus
from .tenancy import Project

MAX_TITLE_CHARS = 500
MAX_SOURCE_CHARS = 2_000


class DocumentContent(models.Model):
    """A file as it was sent, until it is parsed (DocumentBlob), and its text from then on (DocumentPage).

    format: which parser reads it; the same bytes as text and as Markdown are two contents. num_pages: null where the
    format has none. num_pieces: rows of DocumentPage so far.
    """

    project = models.ForeignKey(Project, models.CASCADE, related_name="document_contents")
    sha256 = models.CharField(max_length=64)
    format = models.CharField(max_length=20)
    num_bytes = models.BigIntegerField()
    title = models.CharField(max_length=MAX_TITLE_CHARS, blank=True, default="")
    num_pages = models.IntegerField(null=True)
    num_pieces = models.IntegerField(default=0)
    num_chars = models.BigIntegerField(default=0)
    created_at = models.DateTimeField(default=timezone.now)
    parsed_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project", "sha256", "format"], name="document_content_unique"),
        ]

    def __str__(self) -> str:
        return f"{self.format} {self.sha256[:12]}"


class DocumentBlob(models.Model):
    """A part of the file's bytes, in order."""

    content = models.ForeignKey(DocumentContent, models.CASCADE, related_name="blobs")
    number = models.IntegerField()
    data = models.BinaryField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["content", "number"], name="document_blob_unique")]

    def __str__(self) -> str:
        return f"part {self.number} of content {self.content_id}"


class DocumentPage(models.Model):
    """text[start:start + len(text)] of the whole; page: from 1, where the format has pages."""

    content = models.ForeignKey(DocumentContent, models.CASCADE, related_name="pages")
    number = models.IntegerField()
    page = models.IntegerField(null=True)
    start = models.BigIntegerField()
    num_chars = models.IntegerField()
    text = models.TextField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["content", "number"], name="document_page_unique")]

    def __str__(self) -> str:
        return f"piece {self.number} of content {self.content_id}"


class DocumentQuerySet(models.QuerySet["Document"]):
    def in_project(self, project: Project) -> DocumentQuerySet:
        return self.filter(project=project)

    def live(self) -> DocumentQuerySet:
        return self.filter(deleted_at__isnull=True)


class Document(PublicModel):
    """A document of somebody. source: where it came from, unique among the live documents of a scope and run: sent
    again with other content it is edited. state, error: of the last work on it; what served before it serves on.

    content: the newest that was sent; what is searched is in its serving chunking. strategy, options: how it is cut.
    """

    project = models.ForeignKey(Project, models.CASCADE, related_name="documents")
    scope = models.ForeignKey(Scope, models.CASCADE, related_name="documents")
    user_id = models.CharField(max_length=MAX_NAME_CHARS, null=True)
    agent_id = models.CharField(max_length=MAX_NAME_CHARS, null=True)
    app_id = models.CharField(max_length=MAX_NAME_CHARS, null=True)
    run_id = models.CharField(max_length=MAX_NAME_CHARS, null=True)
    title = models.CharField(max_length=MAX_TITLE_CHARS, blank=True, default="")
    source = models.CharField(max_length=MAX_SOURCE_CHARS, blank=True, default="")
    filename = models.CharField(max_length=MAX_NAME_CHARS, blank=True, default="")
    metadata = models.JSONField(default=dict)
    content = models.ForeignKey(DocumentContent, models.PROTECT, related_name="documents")
    strategy = models.CharField(max_length=50)
    options = models.JSONField(default=dict)
    state = models.CharField(max_length=10, choices=JobStatus.choices, default=JobStatus.PENDING)
    error = models.TextField(blank=True, default="")
    event = models.ForeignKey(Event, models.SET_NULL, null=True, related_name="documents")
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)
    deleted_at = models.DateTimeField(null=True)

    objects = DocumentQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["scope", "run_id", "source"],
                name="document_source_unique",
                condition=Q(deleted_at__isnull=True) & ~Q(source=""),
                nulls_distinct=False,
            ),
            models.UniqueConstraint(
                fields=["scope", "run_id", "content"],
                name="document_content_unique_in_scope",
                condition=Q(deleted_at__isnull=True, source=""),
                nulls_distinct=False,
            ),
            models.CheckConstraint(condition=Q(state__in=JobStatus.values), name="document_state_known"),
            models.CheckConstraint(condition=~Q(state="FAILED") | ~Q(error=""), name="document_failure_has_reason"),
        ]
        indexes = [
            models.Index(fields=["project", "-id"], name="document_project"),
            models.Index(fields=["scope"], name="document_live", condition=Q(deleted_at__isnull=True)),
        ]

    def __str__(self) -> str:
        return self.title or self.source or str(self.public_id)


class DocumentVersion(models.Model):
    """A content that a document had. served_at, expired_at: from when to when it was searched."""

    document = models.ForeignKey(Document, models.CASCADE, related_name="versions")
    number = models.IntegerField()
    content = models.ForeignKey(DocumentContent, models.PROTECT, related_name="versions")
    created_at = models.DateTimeField(default=timezone.now)
    served_at = models.DateTimeField(null=True)
    expired_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["document", "number"], name="document_version_unique"),
            models.CheckConstraint(
                condition=Q(expired_at__isnull=True) | Q(served_at__isnull=True) | Q(expired_at__gte=F("served_at")),
                name="document_version_ordered",
            ),
        ]

    def __str__(self) -> str:
        return f"version {self.number} of document {self.document_id}"


class Chunking(models.Model):
    """A content cut in one way. chunked_at: when its chunks and terms were written. num_chunks: that are searched,
    with ordinals from 0; their parents come behind. num_terms: (num_chunks,) big-endian int32, of each chunk."""

    content = models.ForeignKey(DocumentContent, models.CASCADE, related_name="chunkings")
    strategy = models.CharField(max_length=50)
    options = models.JSONField(default=dict)
    options_hash = models.CharField(max_length=64)
    num_chunks = models.IntegerField(default=0)
    num_terms = models.BinaryField(default=bytes)
    created_at = models.DateTimeField(default=timezone.now)
    chunked_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["content", "strategy", "options_hash"], name="chunking_unique"),
        ]

    def __str__(self) -> str:
        return f"{self.strategy} of content {self.content_id}"


class DocumentChunking(PublicModel):
    """A chunking of a document: being built, serving, or kept to go back to. num_embedded, num_reused: of its chunks,
    how many had to be embedded for this document, and how many were here already."""

    class State(models.TextChoices):
        BUILDING = "building"
        SERVING = "serving"
        RETIRED = "retired"

    document = models.ForeignKey(Document, models.CASCADE, related_name="chunkings")
    version = models.ForeignKey(DocumentVersion, models.CASCADE, related_name="chunkings")
    chunking = models.ForeignKey(Chunking, models.PROTECT, related_name="uses")
    state = models.CharField(max_length=10, choices=State.choices, default=State.BUILDING)
    num_embedded = models.IntegerField(null=True)
    num_reused = models.IntegerField(null=True)
    created_at = models.DateTimeField(default=timezone.now)
    served_at = models.DateTimeField(null=True)
    retired_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["version", "chunking"], name="document_chunking_unique"),
            models.UniqueConstraint(
                fields=["document"], name="document_one_chunking_serves", condition=Q(state="serving")
            ),
            models.CheckConstraint(
                condition=Q(state__in=["building", "serving", "retired"]), name="document_chunking_state_known"
            ),
        ]
        indexes = [
            models.Index(
                fields=["document"], include=["chunking"], name="document_serving", condition=Q(state="serving")
            )
        ]

    def __str__(self) -> str:
        return f"{self.state} chunking {self.chunking_id} of document {self.document_id}"


class Passage(models.Model):
    """What chunks say: stored and embedded once in a project, however many chunks of whatever version say it.

    context: words that are indexed before the text and are none of it. text_hash: SHA-256 of both.
    """

    project = models.ForeignKey(Project, models.CASCADE, related_name="passages", db_index=False)
    text_hash = models.CharField(max_length=64)
    context = models.TextField(blank=True, default="")
    text = models.TextField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project", "text_hash"], name="passage_unique")]

    def __str__(self) -> str:
        return self.text[:80]


class PassageEmbedding(models.Model):
    """The vector of a passage under one profile, of which each has a partial HNSW index: embedding.create_index."""

    profile = models.ForeignKey(EmbeddingProfile, models.CASCADE, related_name="passage_embeddings", db_index=False)
    passage = models.ForeignKey(Passage, models.CASCADE, related_name="embeddings")
    vector = VectorField()  # dimensionless: the profile says how many

    class Meta:
        constraints = [models.UniqueConstraint(fields=["profile", "passage"], name="passage_embedding_unique")]

    def __str__(self) -> str:
        return f"passage {self.passage_id} under profile {self.profile_id}"


class DocumentChunk(PublicModel):
    """text[start:end] of the content. ordinal: its place among the chunks that are searched; parents (level 1 and up)
    come behind them and have no passage. parent: an ordinal."""

    chunking = models.ForeignKey(Chunking, models.CASCADE, related_name="chunks", db_index=False)
    passage = models.ForeignKey(Passage, models.PROTECT, null=True, related_name="chunks")
    ordinal = models.IntegerField()
    start = models.BigIntegerField()
    end = models.BigIntegerField()
    num_tokens = models.IntegerField()
    kind = models.CharField(max_length=30, blank=True, default="")
    headings = ArrayField(models.TextField(), default=list)
    level = models.SmallIntegerField(default=0)
    parent = models.IntegerField(null=True)
    enrichment = models.JSONField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["chunking", "ordinal"], name="document_chunk_unique"),
            models.CheckConstraint(condition=Q(start__gte=0, end__gt=F("start")), name="document_chunk_span_ordered"),
            models.CheckConstraint(
                condition=Q(level__gt=0) | Q(passage__isnull=False), name="document_chunk_searched_has_passage"
            ),
        ]

    def __str__(self) -> str:
        return f"[{self.start}:{self.end}] of chunking {self.chunking_id}"


class ChunkTerm(models.Model):
    """Where a term stands in a chunking: what BM25 is computed from. packed: for each chunk that holds it, in order,
    its ordinal (big-endian int32) and how often (int16)."""

    pk = models.CompositePrimaryKey("chunking_id", "term")
    chunking = models.ForeignKey(Chunking, models.CASCADE, db_index=False)
    term = models.CharField(max_length=64)
    packed = models.BinaryField()

    def __str__(self) -> str:
        return f"{self.term} in chunking {self.chunking_id}"
