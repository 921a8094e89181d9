"""The rolling summary of a session, which extraction reads to understand new messages."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence

import networkx as nx
import numpy as np

from memory_service.errors import LLMError
from memory_service.extraction.grounding import content_words
from memory_service.extraction.llm import without_rendered
from memory_service.extraction.types import SourceMessage, Usage
from memory_service.llm import LLMConfig, complete_structured
from memory_service.prompts.summarise import Summary, summarise_prompt
from memory_service.prompts.summarise_tree import compress_prompt

logger = logging.getLogger(__name__)

MAX_WORDS = 150
MIN_SENTENCE_WORDS = 4  # "Sounds great!" sums up nothing
MAX_SENTENCES = 300  # the newest; every one is compared with every other
TOLERANCE = 1.25  # times max_words that a model may write before it is cut


def summarise(
    config: LLMConfig, previous: str, messages: Sequence[SourceMessage], *, max_words: int = MAX_WORDS
) -> tuple[str, list[Usage]]:
    """`previous` and `messages` in at most about max_words words, by a model; one that rambles on is compressed by one
    more request, and cut if that does not help.

    Raises LLMUnavailable, LLMRejected, LLMMalformed. Source of the length priming: InstructCMP (the prompt
    says how many words there are, how many to keep and how many to delete); of the compression: BooookScore's
    incremental updating.
    """
    said = without_rendered(messages)
    if not said:
        return previous, []
    source_words = _num_words(previous) + sum(_num_words(message.content) for message in said)
    prompt = summarise_prompt(previous, said, source_words=source_words, keep_words=min(max_words, source_words))
    answer, usage = complete_structured(config, prompt, Summary, purpose="summarise")
    summary = " ".join(answer.summary.split())
    if _num_words(summary) > max_words * TOLERANCE:
        summary, more = _compress(config, summary, max_words)
        usage = [*usage, *more]
    return summary, usage


def _compress(config: LLMConfig, summary: str, max_words: int) -> tuple[str, list[Usage]]:
    """By the model; by leaving sentences out where it gives no usable answer or one that is still too long."""
    prompt = compress_prompt(summary, source_words=_num_words(summary), keep_words=max_words)
    usage: list[Usage] = []
    try:
        answer, usage = complete_structured(config, prompt, Summary, purpose="compress_summary")
        shorter = " ".join(answer.summary.split())
    except LLMError as exc:
        logger.info("a summary of %d words is cut without the language model: %s", _num_words(summary), exc)
        shorter = ""
    if shorter and _num_words(shorter) <= max_words * TOLERANCE:
        return shorter, usage
    return _most_central(_sentences(shorter or summary), max_words), usage


def summarise_local(previous: str, messages: Sequence[SourceMessage], *, max_words: int = MAX_WORDS) -> str:
    """The most central sentences of `previous` and `messages`, word for word and in order, in at most
    max_words words.

    Every sentence of a message is marked with its speaker. Central: by PageRank over tf-idf similarity
    (LexRank, Erkan and Radev 2004).
    """
    sentences = _sentences(previous)
    for message in without_rendered(messages):
        sentences += [
            f"{message.speaker}: {sentence}"
            for sentence in _sentences(message.content)
            if _num_words(sentence) >= MIN_SENTENCE_WORDS
        ]
    return _most_central(list(dict.fromkeys(sentences)), max_words)


def _most_central(sentences: Sequence[str], max_words: int) -> str:
    sentences = sentences[-MAX_SENTENCES:]
    ranks = _centrality(sentences)
    kept: set[int] = set()
    room = max_words
    for index in sorted(range(len(sentences)), key=lambda i: -ranks[i]):
        if _num_words(sentences[index]) <= room:
            kept.add(index)
            room -= _num_words(sentences[index])
    if not kept and sentences:  # each alone is too long
        return " ".join(sentences[0].split()[:max_words])
    return " ".join(sentences[index] for index in sorted(kept))


def _centrality(sentences: Sequence[str]) -> dict[int, float]:
    words = [content_words(sentence) for sentence in sentences]
    column = {word: i for i, word in enumerate(sorted(set().union(*words)))}
    present = np.zeros((len(sentences), len(column)))  # (sentences, words)
    for row, found in enumerate(words):
        present[row, [column[word] for word in found]] = 1.0
    weighted = present * np.log1p(len(sentences) / np.maximum(present.sum(axis=0), 1.0))
    weighted /= np.maximum(np.linalg.norm(weighted, axis=1, keepdims=True), 1e-12)
    ranks: dict[int, float] = nx.pagerank(nx.from_numpy_array(weighted @ weighted.T))
    return ranks


def _sentences(text: str) -> list[str]:
    parts = re.split(r"(?<=[.!?…])\s+|(?<=[。！？])|\n+", text)
    return [" ".join(part.split()) for part in parts if part.strip()]


def _num_words(text: str) -> int:
    return len(text.split())
