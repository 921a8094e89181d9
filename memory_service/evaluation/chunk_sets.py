"""A folder of documents and questions with the spans of what answers them -> `ChunkSet`, every span checked.

The format is that of chunking_evaluation (Chroma, 2024): documents as *.md or *.txt, and `questions_df.csv` with the
columns `question`, `references` (JSON: a list of {"content", "start_index", "end_index"}) and `corpus_id` (a file's
name without its ending). Places are half-open and in characters.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from chunking.types import Span
from memory_service.errors import InvalidInput
from memory_service.validation import UNSTORABLE

QUESTIONS_FILE = "questions_df.csv"
COLUMNS = ("question", "references", "corpus_id")
SUFFIXES = (".md", ".txt")
MAX_CELL_CHARS = 10_000_000  # a reference may be a whole chapter; csv's own limit is 131,072
SHOWN_CHARS = 60


@dataclass(frozen=True, slots=True)
class ChunkQuestion:
    """corpus: the document that answers it. references: where, in characters."""

    id: str
    text: str
    corpus: str
    references: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class ChunkSet:
    """corpora: text by name; all of them are one index. titles: of those that have one. notes: what is odd."""

    name: str
    corpora: Mapping[str, str]
    questions: tuple[ChunkQuestion, ...]
    notes: tuple[str, ...] = ()
    titles: Mapping[str, str] = field(default_factory=dict)

    def data_hash(self) -> str:
        """Of texts, questions and references: two runs with the same hash were asked the same."""
        digest = hashlib.sha256()
        for name, text in sorted(self.corpora.items()):
            digest.update(json.dumps([name, text]).encode())
        for one in self.questions:
            digest.update(json.dumps([one.id, one.text, one.corpus, one.references]).encode())
        return digest.hexdigest()


def read_chunk_set(folder: Path) -> ChunkSet:
    """Raises InvalidInput, naming file and row, for what is not as it should be; OSError for what cannot be read."""
    if not folder.is_dir():
        raise InvalidInput(f"{folder} is no folder: give one with documents (*.md, *.txt) and {QUESTIONS_FILE}")
    corpora = _read_corpora(folder)
    path = folder / QUESTIONS_FILE
    if not path.is_file():
        raise InvalidInput(f"{folder} has no {QUESTIONS_FILE}: it needs one with the columns {', '.join(COLUMNS)}")
    questions = tuple(_read_questions(path, corpora))
    if not questions:
        raise InvalidInput(f"{QUESTIONS_FILE} has no question")
    asked = {question.corpus for question in questions}
    notes = [f"{name} has no question; it is in the index all the same" for name in corpora if name not in asked]
    return ChunkSet(folder.resolve().name, corpora, questions, tuple(notes), {name: title_of(name) for name in corpora})


def title_of(corpus: str) -> str:
    """A file's name as words."""
    return " ".join(corpus.replace("_", " ").replace("-", " ").split())


def select(chosen: ChunkSet, *, corpora: Sequence[str] | None = None, max_questions: int | None = None) -> ChunkSet:
    """Some documents alone, with their questions; of these the first so many."""
    if corpora:
        unknown = [name for name in corpora if name not in chosen.corpora]
        if unknown:
            raise InvalidInput(f"there is no document {', '.join(unknown)}; there are {', '.join(chosen.corpora)}")
        kept = {name: chosen.corpora[name] for name in dict.fromkeys(corpora)}
        chosen = replace(chosen, corpora=kept, questions=tuple(q for q in chosen.questions if q.corpus in kept))
    if max_questions is not None:
        chosen = replace(chosen, questions=chosen.questions[:max_questions])
    if not chosen.questions:
        raise InvalidInput("no question is left")
    return chosen


def _read_corpora(folder: Path) -> dict[str, str]:
    corpora: dict[str, str] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in SUFFIXES or not path.is_file():
            continue
        if path.stem in corpora:
            raise InvalidInput(f"{path.name}: another file in {folder} has the name {path.stem!r} too")
        text = _decode(path)
        if text:
            corpora[path.stem] = text
    if not corpora:
        raise InvalidInput(f"{folder} has no document: *.md and *.txt are read")
    return corpora


def _decode(path: Path) -> str:
    """Line ends stay as they are: places are counted in them."""
    try:
        return path.read_bytes().decode()
    except UnicodeDecodeError as exc:
        raise InvalidInput(f"{path.name} is not UTF-8: {exc.reason} at byte {exc.start}") from exc


def _read_questions(path: Path, corpora: Mapping[str, str]) -> list[ChunkQuestion]:
    previous = csv.field_size_limit(MAX_CELL_CHARS)
    try:
        reader = csv.DictReader(io.StringIO(_decode(path).removeprefix("\ufeff"), newline=""))
        missing = [name for name in COLUMNS if name not in (reader.fieldnames or [])]
        if missing:
            raise InvalidInput(f"{path.name} has no column {', '.join(missing)}; it needs {', '.join(COLUMNS)}")
        return [_question(f"{path.name} row {n}", n, row, corpora) for n, row in enumerate(reader, start=1)]
    except csv.Error as exc:
        raise InvalidInput(f"{path.name} is no CSV: {exc}") from exc
    finally:
        csv.field_size_limit(previous)


def _question(where: str, number: int, row: Mapping[str, Any], corpora: Mapping[str, str]) -> ChunkQuestion:
    corpus = row["corpus_id"] or ""
    if corpus not in corpora:
        raise InvalidInput(f"{where}: corpus_id={corpus!r} names no document; there are {', '.join(corpora)}")
    text = UNSTORABLE.sub("", row["question"] or "").strip()
    if not text:
        raise InvalidInput(f"{where}: question is empty")
    try:
        references = json.loads(row["references"] or "")
    except (ValueError, RecursionError) as exc:
        raise InvalidInput(f"{where}: references is not JSON: {exc}") from exc
    if not isinstance(references, list) or not references:
        raise InvalidInput(f"{where}: references must be a list with at least one reference")
    spans = [_span(f"{where}: references[{i}]", one, corpus, corpora[corpus]) for i, one in enumerate(references)]
    return ChunkQuestion(f"{corpus}/{number}", text, corpus, tuple(spans))


def _span(where: str, reference: Any, corpus: str, text: str) -> Span:
    if not isinstance(reference, dict):
        raise InvalidInput(f"{where} must be an object, not {type(reference).__name__}")
    start, end, content = (reference.get(name) for name in ("start_index", "end_index", "content"))
    if type(start) is not int or type(end) is not int:
        raise InvalidInput(f"{where}: start_index={start!r} and end_index={end!r} must be whole numbers")
    if not 0 <= start < end <= len(text):
        raise InvalidInput(f"{where}: {start} to {end} is no span of {corpus}, which has {len(text)} characters")
    if text[start:end] != content:
        stands, hint = text[start:end][:SHOWN_CHARS], ""
        if "\r" in text:
            hint = "; the file has carriage returns, which count as characters here"
        raise InvalidInput(
            f"{where}: content={str(content)[:SHOWN_CHARS]!r} is not what stands at {start} to {end} of {corpus}: "
            f"{stands!r}{hint}"
        )
    return start, end
