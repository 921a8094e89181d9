"""What is known of a chunk beside its text: type, keywords, entities, questions, summary, context.

Here without a language model: by TF-IDF over the document, capitals, templates and the most central sentence. A
language model's answer has the same shape (`Metadata`), so what is done with it does not depend on where it came from.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .sentences import sentence_spans
from .types import Chunk

NUM_KEYWORDS = 8
NUM_ENTITIES = 6
NUM_QUESTIONS = 3
MAX_SUMMARY_CHARS = 300
MAX_SUBJECT_WORDS = 6  # of a sentence that becomes "What is ...?"
MAX_WORD_CHARS = 40  # longer ones are no words
MIN_WORD_CHARS = 3
LISTED_SHARE = 0.5  # of the lines, from which a chunk is a list, a table, a dialogue or code

TYPES = ("text", "table", "list", "code", "dialogue")

Terms = Callable[[str], Sequence[str]]
"""text -> its terms, in order, with repetition."""
FindEntities = Callable[[str], Sequence[str]]
Central = Callable[[Sequence[str]], int]
"""Sentences -> the place of the one that stands for all. At least one is given."""


@dataclass(frozen=True, slots=True)
class Metadata:
    """type: one of TYPES, or what the strategy called the chunk. keywords: (term, weight from 0 to 1), heaviest first.

    context: where the chunk stands in its document: the titles above it, or a sentence that a model wrote.
    """

    type: str = "text"
    keywords: tuple[tuple[str, float], ...] = ()
    entities: tuple[str, ...] = ()
    questions: tuple[str, ...] = ()
    summary: str = ""
    context: str = ""


def enrich(
    chunks: Sequence[Chunk],
    *,
    title: str = "",
    terms: Terms | None = None,
    find_entities: FindEntities | None = None,
    central: Central | None = None,
) -> list[Metadata]:
    """The metadata of each chunk of one document, in order.

    title: the document's. terms, find_entities, central: better ones than the defaults here, where the caller has
    them; `central` gets the sentences of one chunk.
    """
    split_terms = terms or words
    find = find_entities or capitalised
    weights = tfidf([split_terms(chunk.text) for chunk in chunks])
    found = []
    for chunk, of_chunk in zip(chunks, weights, strict=True):
        entities = tuple(dict.fromkeys(find(chunk.text)))[:NUM_ENTITIES]
        sentences = [chunk.text[a:b].strip() for a, b in sentence_spans(chunk.text)]
        found.append(
            Metadata(
                type=type_of(chunk),
                keywords=top(of_chunk, NUM_KEYWORDS),
                entities=entities,
                questions=questions(sentences, headings=chunk.headings, entities=entities),
                summary=summary(sentences, terms=split_terms, central=central),
                context=title_path(chunk, title=title),
            )
        )
    return found


def title_path(chunk: Chunk, *, title: str = "") -> str:
    """The document's title and the headings above the chunk, outermost first; each once."""
    return " > ".join(dict.fromkeys(" ".join(part.split()) for part in (title, *chunk.headings) if part.strip()))


# Keywords


def tfidf(documents: Sequence[Sequence[str]]) -> list[dict[str, float]]:
    """The weight of each term in each document (here: chunk), the heaviest of a document at 1.

    (1 + ln tf) * (ln((1 + N) / (1 + df)) + 1): sublinear tf, smoothed idf, so that a term of every chunk, and a
    document of one chunk, still have weights. Source: Manning, Raghavan and Schütze, 2008, section 6.4.
    """
    frequencies = Counter(term for document in documents for term in set(document))
    weights = []
    for document in documents:
        counts = Counter(document)
        raw = {
            term: (1 + math.log(count)) * (math.log((1 + len(documents)) / (1 + frequencies[term])) + 1)
            for term, count in counts.items()
        }
        heaviest = max(raw.values(), default=1.0)
        weights.append({term: weight / heaviest for term, weight in raw.items()})
    return weights


def top(weights: dict[str, float], num: int) -> tuple[tuple[str, float], ...]:
    """The heaviest terms; of equal ones the first in the text."""
    return tuple(sorted(weights.items(), key=lambda item: -item[1])[:num])


_WORD = re.compile(r"[^\W\d_][\w'’-]*", re.UNICODE)
_STOP_WORDS = frozenset(
    """the and for are was were been being but not you your with this that these those from have has had having
    they them their there then than its our out over under into onto upon about above after again against all any
    because before below between both can cannot could did does doing down during each few further here how however
    more most much must might may nor now off once only other others own same she should shall some such through too
    until very what when where which while who whom why will would also just one two his her hers him himself herself
    itself themselves ourselves yourself per via etc within without among upon thus hence therefore yet still even
    every many we us me my mine is am be as at by do if in it no of on or so to up an he""".split()  # noqa: SIM905
)


def words(text: str) -> list[str]:
    """Words in small letters, without function words, numbers and what is too short or long for a word."""
    found = []
    for match in _WORD.finditer(text):
        word = match.group().lower().removesuffix("'s").removesuffix("’s")
        if MIN_WORD_CHARS <= len(word) <= MAX_WORD_CHARS and word not in _STOP_WORDS:
            found.append(word)
    return found


# Entities

_NAME = r"[A-Z][\w'’&-]*\w"
_NAMES = re.compile(rf"(?<![\w'’@#/.-]){_NAME}(?:\s(?:(?:of|de|van|von|the)\s)?{_NAME})*")


def capitalised(text: str) -> list[str]:
    """Sequences of capitalised words: names, roughly. A lone one that begins a sentence only if it comes again."""
    starts = {start for start, _ in sentence_spans(text)}
    found: list[str] = []
    doubtful: list[str] = []
    for match in _NAMES.finditer(text):
        name = " ".join(match.group().split())
        if name.lower() in _STOP_WORDS:
            continue
        (doubtful if " " not in name and _begins(match.start(), starts, text) else found).append(name)
    again = set(found)
    return [name for name in [*found, *(one for one in doubtful if one in again)] if len(name) > 1]


def _begins(place: int, starts: set[int], text: str) -> bool:
    while place > 0 and place not in starts and not text[place - 1].isalnum():
        place -= 1
    return place in starts


# Type

_TABLE_LINE = re.compile(r"\s*\|.*\||[^\t\n]+(?:\t[^\t\n]*)+$")
_LIST_LINE = re.compile(r"\s*(?:[-*+•]|\d{1,3}[.)])\s+\S")
_CODE_LINE = re.compile(
    r".*[;{}]\s*$|\s*(?:def|class|import|from|return|fn|pub|let|const|if|for|while|#include)\b.*[:({;]"
)
_DIALOGUE_LINE = re.compile(r"\s*\**[A-Z][\w .'-]{0,30}\**:\s+\S|\s*\{['\"](?:role|content)['\"]:")


def type_of(chunk: Chunk) -> str:
    """What the strategy said; else what most of the chunk's lines look like."""
    if chunk.kind:
        return chunk.kind
    lines = [line for line in chunk.text.splitlines() if line.strip()]
    for name, pattern in (
        ("table", _TABLE_LINE),
        ("list", _LIST_LINE),
        ("dialogue", _DIALOGUE_LINE),
        ("code", _CODE_LINE),
    ):
        if len(lines) > 1 and sum(bool(pattern.match(line)) for line in lines) > LISTED_SHARE * len(lines):
            return name
    return "text"


# Questions and summary

_IS = re.compile(r"^(?P<subject>(?:[\w'’-]+\s+){1,6}?)(?P<verb>is|are|was|were)\s+(?:an?|the|one|not)\b")
_DOES = re.compile(r"^(?P<subject>(?:[A-Z][\w'’-]*\s+){1,4})(?P<verb>[a-z]+(?:s|ed))\s")
_YEAR = re.compile(r"\b(1[5-9]\d\d|20\d\d)\b")
_NO_SUBJECT = frozenset("it this that there these those he she they we i you which what here".split())  # noqa: SIM905


def questions(
    sentences: Sequence[str], *, headings: Sequence[str] = (), entities: Sequence[str] = ()
) -> tuple[str, ...]:
    """Questions that the chunk may answer, by templates: of definitions, titles, names and years."""
    found: list[str] = []
    for sentence in sentences:
        match = _IS.match(sentence)
        if match:
            subject = match["subject"].strip()
            if subject.split()[0].lower() not in _NO_SUBJECT and len(subject.split()) <= MAX_SUBJECT_WORDS:
                found.append(f"What {match['verb']} {_lowered(subject)}?")
    if headings:
        found.append(f"What about {' '.join(headings[-1].split())}?")
    years = [match for sentence in sentences for match in _YEAR.findall(sentence)]
    for i, name in enumerate(entities[:NUM_QUESTIONS]):
        year = f" in {years[0]}" if years and not i else ""
        found.append(f"What happened to {name}{year}?" if year else f"What is said about {name}?")
    return tuple(dict.fromkeys(found))[:NUM_QUESTIONS]


def _lowered(subject: str) -> str:
    """A leading article or function word in small letters."""
    first, _, rest = subject.partition(" ")
    return f"{first.lower()} {rest}" if rest and first.lower() in {*_STOP_WORDS, "a"} else subject


def summary(sentences: Sequence[str], *, terms: Terms = words, central: Central | None = None) -> str:
    """The most central sentence, cut at MAX_SUMMARY_CHARS."""
    kept = [sentence for sentence in sentences if sentence]
    if not kept:
        return ""
    chosen = kept[(central or (lambda given: most_central(given, terms=terms)))(kept)]
    chosen = " ".join(chosen.split())
    return chosen if len(chosen) <= MAX_SUMMARY_CHARS else chosen[: MAX_SUMMARY_CHARS - 1].rstrip() + "…"


def most_central(sentences: Sequence[str], *, terms: Terms = words) -> int:
    """The sentence nearest to the centroid of their TF-IDF vectors; of equal ones the first.

    Source: Radev et al., Centroid-based summarization of multiple documents, 2004.
    """
    vectors = tfidf([terms(sentence) for sentence in sentences])
    centroid: dict[str, float] = {}
    for vector in vectors:
        for term, weight in vector.items():
            centroid[term] = centroid.get(term, 0.0) + weight

    def closeness(vector: dict[str, float]) -> float:
        norm = math.sqrt(sum(weight * weight for weight in vector.values()))
        return sum(weight * centroid[term] for term, weight in vector.items()) / norm if norm else 0.0

    return max(range(len(vectors)), key=lambda i: closeness(vectors[i]))
