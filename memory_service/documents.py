"""Documents: received, edited, cut anew, switched, deleted. What happens to one in the background is in
document_stages.py.

    receive     the file is kept and an event PENDING before the caller is answered; the same file again is the same
                document, and a source that sends another file edits its document
    rechunk     another chunking beside the one that serves; it takes over when all of it can be found
    switch      back to one that served before, of the text as it was then
    delete      closes; only forgetting a user, agent, app or run destroys
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import IO, Any

import numpy as np
from django.conf import settings
from django.db import IntegrityError, connection, transaction
from django.db.models import F, Max, QuerySet
from django.utils import timezone
from numpy.typing import NDArray

from chunking.strategies import STRATEGIES, Models
from chunking.strategies import split as split_text
from chunking.types import Offsets, Vectors

from . import language_models
from .document_storage import note_change, tell_webhooks
from .embedding import embed_texts
from .errors import Conflict, InvalidInput, NotFound, TooLarge, UnsupportedMedia
from .ingest import EntityIds, find_or_make_scope
from .llm import complete
from .logs import request_id
from .models import (
    Chunking,
    Document,
    DocumentBlob,
    DocumentChunk,
    DocumentChunking,
    DocumentContent,
    DocumentVersion,
    Event,
    JobStatus,
    Project,
    Session,
)
from .parsing.formats import MEDIA_TYPES, SNIFFED_BYTES, find_format
from .parsing.types import Refused
from .project_llm import llm_of

DEFAULT_STRATEGY = "auto"
BLOB_BYTES = 2**20
MAX_OPTIONS_CHARS = 5_000
ATTEMPTS = 3  # to take up a content that is being destroyed at the same moment


@dataclass(frozen=True, slots=True)
class NewDocument:
    """file: readable and seekable bytes. media_type: as declared; empty: not. strategy, options: None for the
    default, or of an edit for what the document had."""

    ids: EntityIds
    file: IO[bytes]
    filename: str = ""
    media_type: str = ""
    title: str | None = None
    source: str = ""
    metadata: dict[str, Any] | None = None
    strategy: str | None = None
    options: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Received:
    """made: the document is new. event: of the work that follows; of one that is as it was, its last."""

    document: Document
    event: Event | None
    made: bool = False
    changed: bool = False


# Receiving


def receive(project: Project, new: NewDocument) -> Received:
    """Keeps the file and what is to be done. The caller enqueues the event when this has returned.

    Raises InvalidInput, TooLarge, UnsupportedMedia for what cannot be a document.
    """
    file = _inspect(new)
    if new.strategy is not None:  # or it is that of the document which is edited, and checked with it
        check_strategy(project, new.strategy, new.options or {})
    for _ in range(ATTEMPTS):
        content = _store_content(project, file, new.file)
        try:
            with transaction.atomic():
                if _hold(content):
                    return _record(project, new, content)
        except IntegrityError:  # somebody sent, or deleted, the same at the same moment: look again
            continue
    raise Conflict("the same document was being changed while it was sent: send it again")


@dataclass(frozen=True, slots=True)
class FileFacts:
    sha256: str
    num_bytes: int
    format: str


def _inspect(new: NewDocument) -> FileFacts:
    limit = settings.ENV.document_max_mb * 2**20
    new.file.seek(0)
    digest, num_bytes, head = hashlib.sha256(), 0, b""
    while part := new.file.read(BLOB_BYTES):
        head = head or part[:SNIFFED_BYTES]
        num_bytes += len(part)
        if num_bytes > limit:
            raise TooLarge(f"the document is over {settings.ENV.document_max_mb} MB: split it")
        digest.update(part)
    if not num_bytes:
        raise InvalidInput("the document is empty")
    try:
        found = find_format(head, declared=new.media_type, filename=new.filename)
    except Refused as exc:
        raise UnsupportedMedia(str(exc)) from exc
    return FileFacts(digest.hexdigest(), num_bytes, found)


def models_for(project: Project) -> Models:
    """What strategies may ask for here."""
    llm = llm_of(project)
    models = Models(embed=embed_texts, losses=language_models.losses(), choose=language_models.choose())
    if llm is None:
        return models
    prompted = llm

    def ask(prompt: str) -> str:
        return complete(prompted, [{"role": "user", "content": prompt}], purpose="chunk").text

    return replace(models, complete=ask)


def _pretended(project: Project) -> Models:
    """The same, without the cost and without loading anything: for trying options out."""

    def embed(texts: Sequence[str]) -> Vectors:
        return np.full((len(texts), 1), 1.0, np.float32)

    def losses(context: str, text: str) -> tuple[Offsets, NDArray[np.float64]]:
        return np.zeros(min(1, len(text)), np.int64), np.zeros(min(1, len(text)))

    def choose(prompt: str, options: Sequence[str]) -> NDArray[np.float64]:
        return np.full(len(options), 1 / len(options))

    def ask(prompt: str) -> str:
        return ""

    named = bool(settings.ENV.chunking_lm)
    return Models(
        embed=embed,
        losses=losses if named else None,
        choose=choose if named else None,
        complete=ask if llm_of(project) else None,
    )


def check_strategy(project: Project, strategy: str, options: Mapping[str, Any]) -> None:
    """Raises InvalidInput for a strategy or options that would fail later."""
    if len(json.dumps(options)) > MAX_OPTIONS_CHARS:
        raise TooLarge(f"options are over {MAX_OPTIONS_CHARS} characters of JSON")
    try:
        split_text("A sentence.", strategy, models=_pretended(project), options=options)
    except (ValueError, TypeError, OverflowError) as exc:
        raise InvalidInput(str(exc)) from exc


def facts_for_strategy(strategy: str, options: Mapping[str, Any], facts: Mapping[str, str]) -> dict[str, Any]:
    """The options, and beside them those of filename and media_type that the strategy takes and the caller left out."""
    known = STRATEGIES.get(strategy)
    taken = inspect.signature(known.load()).parameters if known else {}
    return {**{name: value for name, value in facts.items() if name in taken and value}, **options}


def _store_content(project: Project, file: FileFacts, data: IO[bytes]) -> DocumentContent:
    """The content, with its bytes where they are not read yet."""
    with transaction.atomic():
        named = {"project": project, "sha256": file.sha256, "format": file.format}
        DocumentContent.objects.bulk_create([DocumentContent(**named, num_bytes=file.num_bytes)], ignore_conflicts=True)
        content = DocumentContent.objects.select_for_update().filter(**named).first()
        if content is None:  # destroyed in between
            return DocumentContent(**named)
        if content.parsed_at is None and not content.blobs.exists():
            data.seek(0)
            for number, part in enumerate(iter(lambda: data.read(BLOB_BYTES), b"")):
                DocumentBlob.objects.create(content=content, number=number, data=part)
    return content


def _hold(content: DocumentContent) -> bool:
    """Against destruction, to the end of the transaction. False where it is gone."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM memory_service_documentcontent WHERE id = %s FOR KEY SHARE", [content.pk])
        return cursor.fetchone() is not None


def _record(project: Project, new: NewDocument, content: DocumentContent) -> Received:
    """Under the scope's lock, so that the same document sent twice at once is one."""
    scope = find_or_make_scope(project, new.ids)
    if new.ids.run_id is not None and not scope.sessions.filter(run_id=new.ids.run_id).exists():
        Session.objects.create(scope=scope, run_id=new.ids.run_id)  # by which a run is known, and forgotten
    mine = Document.objects.live().filter(scope=scope, run_id=new.ids.run_id).select_for_update()
    if new.source:
        document = mine.filter(source=new.source).first()
    else:
        document = mine.filter(source="", content=content).first()
    if document is not None:
        return _edit(document, new, content)
    if new.options is not None:
        check_strategy(project, new.strategy or DEFAULT_STRATEGY, new.options)
    document = Document(
        project=project,
        scope=scope,
        user_id=scope.user_id,
        agent_id=scope.agent_id,
        app_id=scope.app_id,
        run_id=new.ids.run_id,
        title=new.title or "",
        source=new.source,
        filename=new.filename,
        metadata=new.metadata or {},
        content=content,
        strategy=new.strategy or DEFAULT_STRATEGY,
        options=new.options or {},
    )
    document.save()
    return Received(document, _start(document, content), made=True, changed=True)


def edit(project: Project, public_id: Any, new: NewDocument) -> Received:
    """Another content for a document; title and metadata where they are given. Raises Conflict where another document
    of the scope has just this content."""
    file = _inspect(new)
    for _ in range(ATTEMPTS):
        content = _store_content(project, file, new.file)
        try:
            with transaction.atomic():
                if _hold(content):
                    return _edit(lock_document(project, public_id), new, content)
        except IntegrityError:
            continue
    raise Conflict("the same document was being changed while it was sent: send it again")


def _edit(document: Document, new: NewDocument, content: DocumentContent) -> Received:
    _change(document, title=new.title, metadata=new.metadata)
    strategy = new.strategy or document.strategy
    options = document.options if new.options is None and strategy == document.strategy else new.options or {}
    if new.strategy is not None or new.options is not None:
        check_strategy(document.project, strategy, options)
    same = (document.content_id, document.strategy, document.options) == (content.pk, strategy, options)
    if same and document.state != JobStatus.FAILED:
        return Received(document, document.event)
    other = Document.objects.live().filter(scope=document.scope_id, run_id=document.run_id, source="", content=content)
    if not document.source and (twin := other.exclude(pk=document.pk).first()):
        raise Conflict(f"document {twin.public_id} has this content already")
    document.strategy, document.options = strategy, options
    document.filename = new.filename or document.filename
    return Received(document, _start(document, content), changed=True)


def change(project: Project, public_id: Any, *, title: str | None, metadata: dict[str, Any] | None) -> Document:
    """What is None stays."""
    with transaction.atomic():
        document = lock_document(project, public_id)
        _change(document, title=title, metadata=metadata)
        tell_webhooks(document, "document_update")
    return document


def _change(document: Document, *, title: str | None, metadata: dict[str, Any] | None) -> None:
    if title is not None:
        document.title = title
    if metadata is not None:
        document.metadata = metadata
    document.updated_at = timezone.now()
    document.save(update_fields=["title", "metadata", "updated_at"])


def _start(document: Document, content: DocumentContent) -> Event:
    """A version, where the content is another, and the event of the work on it, which outdates what was under way."""
    last = document.versions.order_by("-number").first()
    if last is None or last.content_id != content.pk:
        last = DocumentVersion.objects.create(document=document, content=content, number=last.number + 1 if last else 1)
    event = Event.objects.create(
        project_id=document.project_id,
        type=Event.Type.DOCUMENT,
        options={
            "document": str(document.public_id),
            "version": last.number,
            "strategy": document.strategy,
            "options": document.options,
        },
        request_id=request_id.get()[:64],
    )
    document.content, document.event, document.state, document.error = content, event, JobStatus.PENDING, ""
    document.updated_at = timezone.now()
    document.save()
    return event


def rechunk(project: Project, public_id: Any, *, strategy: str | None, options: dict[str, Any] | None) -> Received:
    """Raises InvalidInput for a strategy that is not known, or bad options."""
    check_strategy(project, strategy or DEFAULT_STRATEGY, options or {})
    with transaction.atomic():
        document = lock_document(project, public_id)
        document.strategy, document.options = strategy or DEFAULT_STRATEGY, options or {}
        return Received(document, _start(document, document.content), changed=True)


# Serving


def switch(project: Project, public_id: Any, chunking_id: Any) -> DocumentChunking:
    """Lets a chunking serve that was ready before, with the text that it is of. Raises NotFound and Conflict."""
    try:
        return _switch(project, public_id, chunking_id)
    except IntegrityError as exc:
        raise Conflict("another document was given the content of this chunking at the same moment") from exc


def _switch(project: Project, public_id: Any, chunking_id: Any) -> DocumentChunking:
    with transaction.atomic():
        document = lock_document(project, public_id)
        use = document.chunkings.select_related("chunking", "version__content").filter(public_id=chunking_id).first()
        if use is None:
            raise NotFound(f"chunking {chunking_id} was not found in this document")
        if use.state == DocumentChunking.State.BUILDING:
            raise Conflict("this chunking is still being built: it takes over by itself when it is ready")
        if not document.source:
            twins = Document.objects.live().filter(
                scope=document.scope_id, run_id=document.run_id, source="", content=use.version.content_id
            )
            if twin := twins.exclude(pk=document.pk).first():
                raise Conflict(f"document {twin.public_id} has the content of this chunking already")
        if serve(document, use):
            # Work that is under way was for what was wanted before.
            document.strategy, document.options = use.chunking.strategy, use.chunking.options
            document.content, document.event = use.version.content, None
            document.state, document.error = JobStatus.SUCCEEDED, ""
            document.save()
            tell_webhooks(document, "document_update")
    use.refresh_from_db()
    return use


def serve(document: Document, use: DocumentChunking) -> bool:
    """In the caller's transaction, with the document's row locked. False where it serves already."""
    now = timezone.now()
    serving = document.chunkings.filter(state=DocumentChunking.State.SERVING).select_related("version").first()
    if serving is not None and serving.pk == use.pk:
        return False
    if serving is not None:
        DocumentChunking.objects.filter(pk=serving.pk).update(state=DocumentChunking.State.RETIRED, retired_at=now)
        if serving.version_id != use.version_id:
            DocumentVersion.objects.filter(pk=serving.version_id).update(expired_at=now)
    DocumentChunking.objects.filter(pk=use.pk).update(
        state=DocumentChunking.State.SERVING, served_at=now, retired_at=None
    )
    version = DocumentVersion.objects.filter(pk=use.version_id)
    version.filter(served_at=None).update(served_at=now)
    version.update(expired_at=None)
    note_change(document.scope_id)
    return True


def delete(project: Project, public_id: Any) -> Document:
    """Closes it: it is found no more. Its rows stay until whoever it belongs to is forgotten."""
    with transaction.atomic():
        document = lock_document(project, public_id)
        document.deleted_at = document.updated_at = timezone.now()
        document.save(update_fields=["deleted_at", "updated_at"])
        note_change(document.scope_id)
        tell_webhooks(document, "document_delete")
    return document


# Looking


def find(project: Project, public_id: Any) -> Document:
    rows = Document.objects.in_project(project).live().select_related("content", "event")
    found = rows.filter(public_id=public_id).first()
    if found is None:
        raise _not_found(public_id)
    return found


def lock_document(project: Project, public_id: Any) -> Document:
    rows = Document.objects.in_project(project).live().select_for_update(of=("self",)).select_related("content")
    found = rows.filter(public_id=public_id).first()
    if found is None:
        raise _not_found(public_id)
    return found


def _not_found(public_id: Any) -> NotFound:
    return NotFound(f"document {public_id} was not found in this project")


def serving_of(documents: Iterable[Document]) -> dict[int, DocumentChunking]:
    """By the document's id."""
    rows = DocumentChunking.objects.filter(document__in=list(documents), state=DocumentChunking.State.SERVING)
    return {
        use.document_id: use for use in rows.select_related("chunking", "version__content").defer("chunking__num_terms")
    }


def chunks_of(document: Document) -> QuerySet[DocumentChunk]:
    """Of the serving chunking, in the order of the text; with their texts."""
    serving = document.chunkings.filter(state=DocumentChunking.State.SERVING).values("chunking")
    rows = DocumentChunk.objects.filter(chunking__in=serving, level=0).order_by("ordinal")
    return rows.annotate(text=F("passage__text"))


def current_content(document: Document) -> DocumentContent:
    """The text that is searched; before any is, the one that was sent."""
    serving = serving_of([document]).get(document.pk)
    return serving.version.content if serving else document.content


def chunkings_of(document: Document) -> QuerySet[DocumentChunking]:
    return (
        document.chunkings.select_related("chunking", "version")
        .defer("chunking__num_terms")
        .annotate(version_number=F("version__number"))
        .order_by("-id")
    )


@dataclass(frozen=True, slots=True)
class Progress:
    """total: None while it is not known."""

    stage: str
    pages: tuple[int, int | None]
    chunks: tuple[int, int | None]


def progress_of(document: Document, event: Event | None) -> Progress:
    """How far the work on the document is; what came of it where it is over."""
    content = document.content
    pages = (content.num_pieces if content.num_pages is not None else 0, content.num_pages)
    if document.state == JobStatus.PENDING and content.parsed_at is None and not content.num_pieces:
        return Progress("waiting", pages, (0, None))
    if content.parsed_at is None:
        return Progress("parsing", pages, (0, None))
    version = document.versions.aggregate(last=Max("number"))["last"]
    wanted = document.chunkings.filter(version__number=version, chunking__strategy=document.strategy)
    use = wanted.select_related("chunking").order_by("-id").first()
    if use is None or use.chunking.chunked_at is None:
        return Progress("chunking", pages, (0, None))
    total = use.chunking.num_chunks
    if use.state != DocumentChunking.State.BUILDING:
        return Progress("done", pages, (total, total))
    return Progress("embedding", pages, (num_embedded(use.chunking), total))


def num_embedded(chunking: Chunking) -> int:
    """How many of its chunks have a vector."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM memory_service_documentchunk c WHERE c.chunking_id = %s AND EXISTS "
            "(SELECT 1 FROM memory_service_passageembedding e WHERE e.passage_id = c.passage_id)",
            [chunking.pk],
        )
        return int(cursor.fetchone()[0])


def media_type_of(content: DocumentContent) -> str:
    return MEDIA_TYPES[content.format]
