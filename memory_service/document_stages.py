"""What a worker does with a document: parse, chunk, embed, switch. Each stage can be cut off at any moment and goes on
where it was: pages and vectors are committed as they come, chunks all at once, and the switch is one transaction.

    parse     the file is read in a process of its own (parsing/), its text kept page by page
    chunk     the text is cut by the strategy (chunking/), chunks, passages and terms are written
    embed     the passages that have no vector yet, a batch at a time: each text's vector with its sentences' in it
    switch    the new chunking serves, the one before it is retired

An event goes back into the queue after TURN_S, so that a long document does not keep memories waiting.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from chunking.auto import choose_strategy
from chunking.situating import base_vectors
from chunking.strategies import split
from chunking.types import Chunk, Embed

from . import ledger
from .document_storage import (
    batched,
    load_passages,
    passages_without_vector,
    place,
    read_text,
    save_chunks,
    save_vectors,
    tell_webhooks,
)
from .documents import facts_for_strategy, media_type_of, models_for, serve
from .embedding import Vectors, embed_texts, give_back_memory, serving_profile
from .errors import InvalidInput
from .ingest import LostClaim
from .locks import Kind, advisory_lock
from .models import (
    Chunking,
    Document,
    DocumentBlob,
    DocumentChunking,
    DocumentContent,
    DocumentPage,
    DocumentVersion,
    Event,
    EventStatus,
)
from .parsing.runner import run_parser
from .parsing.types import Head, Limits, Piece, Refused
from .recutting import recut

TURN_S = 10.0
BUSY_PAUSE = timedelta(seconds=0.5)  # another worker has the same content
PAGES_A_BATCH, CHARS_A_BATCH = 50, 1_000_000  # of pages that are committed together
PASSAGES_A_BATCH = 128
TEXTS_A_BATCH = 512  # embedded between two signs of life

DELETED = "The document was deleted before it was processed."
OUTDATED = "A later change of the document took this one's place."
NO_TEXT = "there is no text in it; if it shows scanned pages, run text recognition (OCR) over it first"


class NotDone(Exception):
    """The work is not over: the event goes back into the queue until `retry_at`."""

    def __init__(self, retry_at: datetime) -> None:
        super().__init__("to be continued")
        self.retry_at = retry_at


class Turn:
    """How long this worker goes on with one document, and the sign of life it gives meanwhile."""

    def __init__(self, event: Event, turn_s: float | None = None) -> None:
        self.event = event
        self._end = time.monotonic() + (TURN_S if turn_s is None else turn_s)

    def touch(self) -> None:
        """Raises LostClaim where another worker has taken the event over."""
        mine = Event.objects.filter(pk=self.event.pk, claim=self.event.claim, status=EventStatus.RUNNING)
        if not mine.update(updated_at=timezone.now()):
            raise LostClaim(f"event {self.event.public_id} was taken over")

    def check(self) -> None:
        """Raises NotDone when others shall have the worker."""
        if time.monotonic() > self._end:
            raise NotDone(timezone.now())


def process(event: Event) -> tuple[list[dict[str, Any]], list[str]]:
    """Returns results and notes of the event. Raises NotDone, and InvalidInput for a document that cannot be read."""
    document = Document.objects.filter(project=event.project_id, public_id=event.options["document"])
    found = document.select_related("project", "scope").first()
    if found is None or found.deleted_at is not None:
        return [], [DELETED]
    if found.event_id != event.pk:
        return [], [OUTDATED]
    version = found.versions.select_related("content").get(number=event.options["version"])
    turn = Turn(event)
    with advisory_lock(Kind.DOCUMENT, version.content_id) as held:
        if not held:
            raise NotDone(timezone.now() + BUSY_PAUSE)
        version.content.refresh_from_db()
        parse(version.content, turn)
        with ledger.charged(found.project, event=event, scope=found.scope):
            chunking = chunk(found, version.content, event.options["strategy"], event.options["options"], turn)
        use = attach(found, version, chunking)
        embed(chunking, turn)
    return finish(event, use)


# Parse


def limits() -> Limits:
    env = settings.ENV
    return Limits(
        max_bytes=env.document_max_mb * 2**20,
        max_pages=env.document_max_pages,
        max_chars=env.document_max_chars,
        memory_mb=env.document_parser_mb,
        timeout_s=env.document_timeout_s,
    )


def parse(content: DocumentContent, turn: Turn) -> None:
    """The file's text, page by page. Raises InvalidInput with the reason where it cannot be read."""
    if content.parsed_at is not None:
        return
    try:
        with _as_file(content) as path:
            _parse_file(content, path, turn)
        if not _has_text(content):
            raise Refused(NO_TEXT)
    except Refused as exc:
        _discard(content)
        raise InvalidInput(f"The document cannot be read: {exc}.") from exc
    with transaction.atomic():
        DocumentContent.objects.filter(pk=content.pk).update(parsed_at=timezone.now())
        content.blobs.all().delete()
    content.refresh_from_db()


@contextmanager
def _as_file(content: DocumentContent) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="document-") as folder:
        path = Path(folder) / f"file.{content.format}"
        with path.open("wb") as file:
            for pk in DocumentBlob.objects.filter(content=content).order_by("number").values_list("pk", flat=True):
                file.write(DocumentBlob.objects.get(pk=pk).data)
        yield path


def _parse_file(content: DocumentContent, path: Path, turn: Turn) -> None:
    with closing(run_parser(content.format, path, limits(), skip=content.num_pieces)) as found:
        for batch in _in_batches(found, lambda head: _save_head(content, head)):
            _save_pages(content, batch)
            turn.touch()
            if content.num_pages is not None:  # or all of it would have to be read again
                turn.check()


def _in_batches(found: Iterator[Head | Piece], tell: Callable[[Head], None]) -> Iterator[list[Piece]]:
    batch: list[Piece] = []
    num_chars = 0
    for one in found:
        if isinstance(one, Head):
            tell(one)
            continue
        batch.append(one)
        num_chars += len(one.text)
        if len(batch) >= PAGES_A_BATCH or num_chars >= CHARS_A_BATCH:
            yield batch
            batch, num_chars = [], 0
    if batch:
        yield batch


def _save_head(content: DocumentContent, head: Head) -> None:
    content.num_pages, content.title = head.num_pages, head.title
    content.save(update_fields=["num_pages", "title"])


@transaction.atomic
def _save_pages(content: DocumentContent, batch: list[Piece]) -> None:
    rows = []
    for piece in batch:
        rows.append(
            DocumentPage(
                content=content,
                number=content.num_pieces,
                page=piece.page,
                start=content.num_chars,
                num_chars=len(piece.text),
                text=piece.text,
            )
        )
        content.num_pieces += 1
        content.num_chars += len(piece.text)
    DocumentPage.objects.bulk_create(rows)
    content.save(update_fields=["num_pieces", "num_chars"])


def _has_text(content: DocumentContent) -> bool:
    return content.pages.filter(text__regex=r"\S").exists()


@transaction.atomic
def _discard(content: DocumentContent) -> None:
    """What was read of a file that cannot be read, and its bytes: sent again, it is read again."""
    content.pages.all().delete()
    content.blobs.all().delete()
    DocumentContent.objects.filter(pk=content.pk).update(num_pieces=0, num_chars=0, num_pages=None, title="")


# Chunk


def chunk(document: Document, content: DocumentContent, strategy: str, options: dict[str, Any], turn: Turn) -> Chunking:
    """The content cut so, as it is there already or anew. Raises InvalidInput where the strategy refuses it."""
    as_sent = content.format in ("text", "markdown")  # or the name would be that of another format
    facts = {"filename": document.filename if as_sent else "", "media_type": _text_type(content)}
    try:
        wanted = facts_for_strategy(strategy, options, facts)
    except ValueError as exc:
        raise InvalidInput(str(exc)) from exc
    digest = hashlib.sha256(json.dumps(wanted, sort_keys=True).encode()).hexdigest()
    chunking, _ = Chunking.objects.get_or_create(
        content=content, strategy=strategy, options_hash=digest, defaults={"options": options}
    )
    if chunking.chunked_at is None:
        try:
            chunks = _cut(document, chunking, wanted, turn)
        except ValueError as exc:
            raise InvalidInput(f"The document cannot be cut: {exc}") from exc
        save_chunks(chunking, place(chunks), document.project_id)
        chunking.refresh_from_db()
    return chunking


def _cut(document: Document, chunking: Chunking, wanted: dict[str, Any], turn: Turn) -> list[Chunk]:
    """Raises ValueError where the strategy refuses the text or its options."""
    models = replace(models_for(document.project), embed=_watched(turn))
    text = read_text(chunking.content)

    def cut(part: str) -> list[Chunk]:
        return split(part, chunking.strategy, models=models, options=wanted)

    before = _cut_before(document, chunking) if _looks_for_turns(chunking.strategy, text, wanted) else None
    if before is None:
        return cut(text)
    rows = before.chunks.filter(level=0).order_by("start").select_related("passage")
    chunks = [
        Chunk(row.passage.text, row.start, row.end, row.num_tokens, row.kind, tuple(row.headings))
        for row in rows
        if row.passage is not None
    ]
    return recut(read_text(before.content), chunks, text, cut)


def _looks_for_turns(strategy: str, text: str, wanted: dict[str, Any]) -> bool:
    """Whether cuts are found by embedding each sentence, one stretch of text independently of another."""
    if strategy != "auto":
        return strategy == "balanced"
    return choose_strategy(text, filename=wanted.get("filename"), media_type=wanted.get("media_type")) == "text"


def _cut_before(document: Document, chunking: Chunking) -> Chunking | None:
    """The chunking that serves the document now, where it is of another content and cut in the same way."""
    use = document.chunkings.filter(state=DocumentChunking.State.SERVING).select_related("chunking__content").first()
    if use is None or use.chunking.content_id == chunking.content_id or use.chunking.chunked_at is None:
        return None
    same = (use.chunking.strategy, use.chunking.options_hash) == (chunking.strategy, chunking.options_hash)
    return use.chunking if same else None


def _watched(turn: Turn) -> Embed:
    """Embeds, and gives signs of life meanwhile."""

    def embed(texts: Sequence[str]) -> Vectors:
        vectors = np.empty((len(texts), serving_profile().dimensions), np.float32)
        for start in range(0, len(texts), TEXTS_A_BATCH):
            turn.touch()
            vectors[start : start + TEXTS_A_BATCH] = embed_texts(texts[start : start + TEXTS_A_BATCH])
            give_back_memory()
        return vectors

    return embed


def _text_type(content: DocumentContent) -> str:
    """Of the text that was made of it: HTML and DOCX become like Markdown."""
    return "text/markdown" if content.format in ("html", "docx") else media_type_of(content)


def attach(document: Document, version: DocumentVersion, chunking: Chunking) -> DocumentChunking:
    """The document's use of the chunking, with how much of it is embedded already."""
    use, _ = DocumentChunking.objects.get_or_create(document=document, version=version, chunking=chunking)
    if use.num_embedded is None:
        missing = len(passages_without_vector(chunking))
        use.num_embedded, use.num_reused = missing, chunking.num_chunks - missing
        use.save(update_fields=["num_embedded", "num_reused"])
    return use


# Embed


def embed(chunking: Chunking, turn: Turn) -> None:
    for ids in batched(passages_without_vector(chunking), PASSAGES_A_BATCH):
        turn.touch()
        rows = load_passages(ids)
        vectors = base_vectors([text for _, text in rows], embed=embed_texts)
        save_vectors([pk for pk, _ in rows], vectors)
        give_back_memory()
        turn.check()


# Switch


@transaction.atomic
def finish(event: Event, use: DocumentChunking) -> tuple[list[dict[str, Any]], list[str]]:
    """Lets the new chunking serve, unless the document was changed or deleted meanwhile."""
    document = (
        Document.objects.select_for_update(of=("self",)).select_related("content").filter(pk=use.document_id).first()
    )
    held = Event.objects.select_for_update().filter(pk=event.pk, claim=event.claim, status=EventStatus.RUNNING)
    if not held.exists():
        raise LostClaim(f"event {event.public_id} was taken over")
    if document is None or document.deleted_at is not None:
        return [], [DELETED]
    if document.event_id != event.pk:
        return [], [OUTDATED]
    first = not document.chunkings.filter(served_at__isnull=False).exists()
    if serve(document, use):
        tell_webhooks(document, "document_add" if first else "document_update")
    if not document.title:
        Document.objects.filter(pk=document.pk).update(title=document.content.title or F("filename"))
    use.refresh_from_db()
    content = use.version.content
    result = {
        "document_id": str(document.public_id),
        "chunking_id": str(use.public_id),
        "version": use.version.number,
        "num_pages": content.num_pages,
        "num_chars": content.num_chars,
        "num_chunks": use.chunking.num_chunks,
        "num_embedded": use.num_embedded,
        "num_reused": use.num_reused,
    }
    return [result], []
