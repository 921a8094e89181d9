"""Memories in fewer tokens: sentences left out (extractive), or rewritten by a language model (SCOPE).

Both share a target among the texts, more for what answers the question (`share_targets`), and neither may lose a
keyword: a name, number, piece of code or word of the question. Extractive compression only leaves out; it never
invents a word. A rewriting that loses keywords or is too long is asked for again, twice at most, and then replaced by
extraction.

Sources: SCOPE (segment, compress chunk by chunk, keep keywords); InstructCMP for naming three lengths in the prompt.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from . import lexical
from .embedding import Vectors, embed_texts
from .errors import LLMError
from .extraction.entities import find_entities
from .extractive import num_words
from .llm import LLMConfig, complete_structured
from .prompts.compress import Piece, Rewritten, compress_prompt

logger = logging.getLogger(__name__)

TARGET_SLOPE, MIN_SHARE = 1.0, 0.2  # a and lo of share_targets
KEYWORD_BONUS = 0.1  # of a sentence's score, where it has a name or number: they are what is asked for
WORDS_SHARE, MEANING_SHARE = 0.5, 0.5
SEGMENT_WORDS = (60, 200)  # a long text is rewritten in pieces of about these sizes
CALL_WORDS = 1_500  # of pieces in one request
MAX_TRIES = 3  # one, and two more for what lost keywords or was too long
LENGTH_TOLERANCE = 1.25  # times the words asked for that a rewriting may have
MAX_SENTENCE_TEXTS = 2_000  # embedded for one compression; beyond that words alone decide

SENTENCE = re.compile(r".+?(?:[.!?…]+[\"'”’)\]]*(?=\s|$)|[。！？]|\n|$)", re.DOTALL)
NUMBER = re.compile(r"\d[\d.,:/%-]*\d|\d")
CODE = re.compile(r"`[^`\n]+`|https?://\S+|\b\w+(?:_\w+)+\b|\b[\w.]+\(\)")


def split(text: str) -> list[str]:
    """Its sentences, word for word, without the blanks around them."""
    return [text[start:end] for start, end in split_spans(text)]


def split_spans(text: str) -> list[tuple[int, int]]:
    """The same as [start, end) of the text."""
    spans = []
    for match in SENTENCE.finditer(text):
        said = match.group()
        if said.strip():
            start = match.start() + len(said) - len(said.lstrip())
            spans.append((start, start + len(said.strip())))
    return spans


def keywords(text: str, query: str = "") -> set[str]:
    """What must survive: numbers, names, code, and those words of the question that the text has."""
    asked = set(lexical.terms(query))
    words = {match.group() for match in lexical.WORD.finditer(text) if asked & set(lexical.terms(match.group()))}
    names = {mention.name for mention in find_entities(text)}
    return {*NUMBER.findall(text), *CODE.findall(text), *names, *words}


def lost(original: str, rewritten: str, query: str = "") -> set[str]:
    """The keywords of `original` that `rewritten` has not."""
    folded = rewritten.casefold()
    return {word for word in keywords(original, query) if word.casefold() not in folded}


def share_targets(lengths: Sequence[int], relevance: Sequence[float], total: int) -> list[int]:
    """How many tokens each text may keep, about `total` together; none more than it has.

    SCOPE, as our specification reads it: length * clip(rho * (1 + a * (relevance - mean)), lo, 1), and what is left
    over goes to the texts in the order of their relevance. relevance: any scale; it is brought to 0..1 first.
    """
    if not lengths:
        return []
    rho = min(1.0, total / max(1, sum(lengths)))
    spread = np.asarray(relevance, dtype=float)
    spread = (spread - spread.min()) / max(1e-9, float(spread.max() - spread.min()))
    shares = np.clip(rho * (1 + TARGET_SLOPE * (spread - spread.mean())), min(MIN_SHARE, rho), 1.0)
    targets = [int(length * share) for length, share in zip(lengths, shares, strict=True)]
    left = total - sum(targets)
    for index in sorted(range(len(lengths)), key=lambda i: (-relevance[i], i)):
        more = max(0, min(left, lengths[index] - targets[index]))
        targets[index] += more
        left -= more
    return targets


# Extractive


@dataclass(frozen=True, slots=True)
class Extract:
    """kept: which sentences of `split(text)` are in `text`; none: the whole was left out."""

    text: str
    kept: tuple[int, ...]


def rejoin(sentences: Sequence[str], kept: Sequence[int]) -> str:
    return " ".join(sentences[index] for index in kept)


def extract(
    texts: Sequence[str], query: str, targets: Sequence[int], costs: Sequence[Sequence[int]], *, vector: Vectors
) -> list[Extract]:
    """For each text its best sentences, in their order, of at most its target's tokens.

    costs: for each text the tokens of each of its sentences. vector: the question's. A text that fits its target stays
    whole; of one none of whose sentences fits nothing is kept.
    """
    split_texts = [split(text) for text in texts]
    cut = [i for i, text_costs in enumerate(costs) if sum(text_costs) > targets[i]]
    scores = _score([split_texts[i] for i in cut], query, vector)
    found = [Extract(text, tuple(range(len(split_texts[i])))) for i, text in enumerate(texts)]
    for index, of_text in zip(cut, scores, strict=True):
        kept = _best(of_text, costs[index], targets[index])
        found[index] = Extract(rejoin(split_texts[index], kept), tuple(kept))
    return found


def _best(scores: Sequence[float], costs: Sequence[int], room: int) -> list[int]:
    kept: list[int] = []
    for index in sorted(range(len(scores)), key=lambda i: (-scores[i], i)):
        if costs[index] <= room:
            kept.append(index)
            room -= costs[index]
    return sorted(kept)


def _score(texts: Sequence[Sequence[str]], query: str, vector: Vectors) -> list[list[float]]:
    """For each text's sentences, how well each answers the question: words (BM25 over all of them), meaning (cosine),
    and a little for a name or number."""
    flat = [sentence for sentences in texts for sentence in sentences]
    if not flat:
        return [[] for _ in texts]
    scores = WORDS_SHARE * _score_words(flat, query)
    if len(flat) <= MAX_SENTENCE_TEXTS:
        scores = scores + MEANING_SHARE * np.clip(embed_texts(flat) @ vector, 0.0, 1.0)
    scores = scores + KEYWORD_BONUS * np.array([bool(keywords(sentence)) for sentence in flat])
    found, start = [], 0
    for sentences in texts:
        found.append(scores[start : start + len(sentences)].tolist())
        start += len(sentences)
    return found


def _score_words(sentences: Sequence[str], query: str) -> NDArray[np.float64]:
    """(N,) BM25, the best of them as 1."""
    counts = [lexical.count_terms(sentence) for sentence in sentences]
    lengths = np.array([max(1, sum(count.values())) for count in counts], dtype=float)
    postings = []
    for term in sorted(set(lexical.terms(query))):
        rows = [i for i, count in enumerate(counts) if term in count]
        if rows:
            postings.append((np.array(rows), np.array([counts[i][term] for i in rows], dtype=float)))
    scores = lexical.bm25(postings, lengths)
    best = float(scores.max()) if len(scores) else 0.0
    return scores / best if best > 0 else scores


# By a language model


def rewrite(
    llm: LLMConfig, texts: Sequence[str], query: str, target_words: Sequence[int]
) -> tuple[list[str | None], list[str]]:
    """(each text in about its target of words, None where the model gave nothing usable; what went wrong, in words).

    Several texts go into one request, each with its three numbers. Texts that are short enough already are not sent.
    """
    pieces = [
        Piece(text=segment, words=num_words(segment), keep=max(1, round(num_words(segment) * target / num_words(text))))
        for text, target in zip(texts, target_words, strict=True)
        for segment in (segments(text) if num_words(text) > target else [])
    ]
    done: dict[int, str] = {}
    notes: list[str] = []
    waiting = dict(enumerate(pieces))
    for _ in range(MAX_TRIES):
        for batch in _batches(waiting):
            try:
                done |= _ask(llm, batch, query)
            except LLMError as exc:
                logger.warning("compressed without the language model: %s", exc)
                return _assemble(texts, target_words, {}), [*notes, f"the language model did not answer: {exc}"]
        waiting = {i: piece for i, piece in waiting.items() if i not in done}
        if not waiting:
            break
    if waiting:
        notes.append(f"{len(waiting)} of {len(pieces)} rewritings lost keywords or were too long: extracted instead")
    return _assemble(texts, target_words, done), notes


def _batches(pieces: dict[int, Piece]) -> list[dict[int, Piece]]:
    found: list[dict[int, Piece]] = []
    words = CALL_WORDS
    for number, piece in pieces.items():
        if words + piece.words > CALL_WORDS:
            found.append({})
            words = 0
        found[-1][number] = piece
        words += piece.words
    return found


def _ask(llm: LLMConfig, pieces: dict[int, Piece], query: str) -> dict[int, str]:
    must_keep = {number: sorted(keywords(piece.text, query)) for number, piece in pieces.items()}
    prompt = compress_prompt(pieces, must_keep, query)
    answer, _ = complete_structured(llm, prompt, Rewritten, purpose="compress_context")
    found: dict[int, str] = {}
    for one in answer.pieces:
        piece, text = pieces.get(one.number), " ".join(one.text.split())
        if piece and text and _is_usable(piece, text, query):
            found[one.number] = text
    return found


def _is_usable(piece: Piece, text: str, query: str) -> bool:
    """Shorter than it was, about as long as asked, with every keyword, and without a number that was not there."""
    short_enough = num_words(text) <= max(piece.keep * LENGTH_TOLERANCE, len(keywords(piece.text, query)) + 2)
    invented = {number for number in NUMBER.findall(text) if number not in piece.text}
    return num_words(text) < piece.words and short_enough and not invented and not lost(piece.text, text, query)


def _assemble(texts: Sequence[str], target_words: Sequence[int], done: dict[int, str]) -> list[str | None]:
    found: list[str | None] = []
    number = 0
    for text, target in zip(texts, target_words, strict=True):
        if num_words(text) <= target:
            found.append(text)
            continue
        parts = [done.get(number + i) for i in range(len(segments(text)))]
        number += len(parts)
        found.append(None if None in parts else " ".join(filter(None, parts)))
    return found


def segments(text: str) -> list[str]:
    """A long text in pieces of whole sentences, cut where neighbouring sentences share the fewest words.

    A sentence without a word in common with either neighbour stays where it stands.
    """
    shortest, longest = SEGMENT_WORDS
    sentences = split(text)
    if num_words(text) <= longest:
        return [text]
    stems = [set(lexical.terms(sentence)) for sentence in sentences]
    likeness = [_jaccard(left, right) for left, right in pairwise(stems)]
    found: list[list[str]] = [[]]
    words = 0
    for index, sentence in enumerate(sentences):
        size = num_words(sentence)
        is_break = index and likeness[index - 1] <= float(np.median(likeness))
        if found[-1] and (words + size > longest or (words >= shortest and is_break)):
            found.append([])
            words = 0
        found[-1].append(sentence)
        words += size
    return [" ".join(part) for part in found]


def _jaccard(left: set[str], right: set[str]) -> float:
    return len(left & right) / len(left | right) if left | right else 0.0
