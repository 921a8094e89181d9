"""Intent-Driven Dynamic Chunking: the segmentation that answers best what readers may ask.

    maximise  sum over the chunks of  [|C|] R(C) - lambda |C|^2  - beta (k - 1)
    R(C) = max over the intents q of  cos(mean vector of C's sentences, vector of q)        |C| in sentences

by dynamic programming, O(N L). Source: arXiv:2602.14784. Two traps of the formula are met: R is positive, so every
chunk more adds to the sum, and beta only holds against it when it is near the mean of R; beta is therefore given in
units of that mean. And R may be weighted with the chunk's length, which needs no beta at all.

The intents come from a language model, or from the headings and key phrases of the text put into questions.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from .pieces import check_float, check_int, check_one_of, check_sizes, join, sentence_pieces, texts
from .segments import Scores, best_segments, greedy_cuts
from .tokens import Tokenize, TokenizedText, tokenized
from .types import Chunk, Embed, Span, Vectors

Complete = Callable[[str], str]

OBJECTIVES = ("plain", "length_weighted")
BETAS = {"plain": 1.0, "length_weighted": 0.05}
LAMBDA = 0.0005  # the paper's, after its tuning; of R's scale
SAME_INTENT = 0.85  # cosine; the paper's
MAX_INTENTS, MAX_INTENT_CHARS = 60, 300
SECTION_SENTENCES = 100  # that a language model is shown at once
PHRASES_A_SECTION, PHRASE_SECTION_SENTENCES = 2, 12

PROMPT = (
    "Below is part of a document. Write {num} short questions that this part answers and that a reader may well ask: "
    "about half for single facts, a third for relations between them, the rest for explanations. One question a line, "
    "nothing else.\n\n<part>\n{part}\n</part>"
)


def split_intents(
    text: str,
    *,
    embed: Embed,
    complete: Complete | None = None,
    tokenize: Tokenize | None = None,
    intents: Sequence[str] | None = None,
    objective: str = "plain",
    length_penalty: float = LAMBDA,
    beta: float | None = None,
    min_sentences: int = 2,
    max_sentences: int = 12,
    max_tokens: int = 300,
) -> list[Chunk]:
    """intents: questions that are known; without them they are asked of the language model, or made of the text.

    beta: what a boundary costs, in units of the mean of the term that is summed, over all chunks of an allowed number
    of sentences; None is 1, and 0.05 where length_weighted.
    Without any intent the sentences are put together up to max_tokens.
    """
    _, max_tokens = check_sizes(0, max_tokens)
    check_one_of("objective", objective, OBJECTIVES)
    penalty = check_float("length_penalty", length_penalty, low=0.0, high=1e6)
    cost = BETAS[objective] if beta is None else check_float("beta", beta, low=0.0, high=1e6)
    check_int("max_sentences", max_sentences, low=1, high=1000)
    check_int("min_sentences", min_sentences, low=1, high=max_sentences)
    given = None if intents is None else check_intents(intents)
    document = tokenized(text, tokenize)
    pieces = sentence_pieces(document, max_tokens)
    if len(pieces) < 2:
        return document.chunks(pieces)
    asked = given if given is not None else make_intents(text, pieces, complete)
    counts = document.count_spans(pieces).tolist()
    if not asked:
        wanted = [False] * (len(pieces) - 1)
        return document.chunks(join(pieces, greedy_cuts(counts, wanted, min_tokens=0, max_tokens=max_tokens)))
    questions = distinct(embed(asked))
    vectors = embed(texts(document, pieces))
    relevance = segment_relevance(vectors, questions, max_sentences)
    values = utilities(relevance, objective=objective, length_penalty=penalty, beta=cost)
    values[_too_long(document, pieces, max_sentences, max_tokens)] = -np.inf
    return document.chunks(join(pieces, best_segments(values, min_pieces=min_sentences)))


def _too_long(document: TokenizedText, pieces: Sequence[Span], longest: int, max_tokens: int) -> np.ndarray:
    places = np.concatenate([[0], np.cumsum(document.count_spans(pieces))])
    ends = np.minimum(np.arange(len(pieces))[:, None] + np.arange(longest)[None, :] + 1, len(pieces))  # (N, L)
    too_long: np.ndarray = places[ends] - places[:-1, None] > max_tokens
    too_long[:, 0] = False
    return too_long


def segment_relevance(vectors: Vectors, questions: Vectors, longest: int) -> Scores:
    """(N, D) and (Q, D) -> (N, L): R of the sentences i to i + l; -inf past the end. By sums up to each sentence."""
    num = len(vectors)
    sums = np.concatenate([np.zeros((1, vectors.shape[1])), np.cumsum(vectors, axis=0, dtype=np.float64)])  # (N + 1, D)
    asked = np.concatenate(
        [np.zeros((1, len(questions))), np.cumsum((vectors @ questions.T).astype(np.float64), axis=0)]
    )  # (N + 1, Q)
    relevance = np.full((num, longest), -np.inf)
    for length in range(1, min(longest, num) + 1):
        best = (asked[length:] - asked[:-length]).max(axis=1)
        norms = np.linalg.norm(sums[length:] - sums[:-length], axis=1)
        relevance[: num - length + 1, length - 1] = best / np.maximum(norms, 1e-12)
    return relevance


def utilities(relevance: Scores, *, objective: str, length_penalty: float, beta: float) -> Scores:
    """(N, L) -> (N, L): what each chunk adds to the sum, its boundary's cost among it.

    beta (k - 1) differs from beta k by a constant, which changes no choice.
    """
    lengths = np.arange(1, relevance.shape[1] + 1, dtype=np.float64)
    term = relevance * lengths if objective == "length_weighted" else relevance
    finite = term[np.isfinite(term)]
    mean = float(np.abs(finite.mean())) if len(finite) else 0.0
    result: Scores = term - length_penalty * lengths**2 - beta * mean
    return result


def distinct(vectors: Vectors, threshold: float = SAME_INTENT) -> Vectors:
    """Without those whose cosine to an earlier one is above threshold."""
    kept: list[int] = []
    for row, vector in enumerate(vectors):
        if not kept or float((vectors[kept] @ vector).max()) <= threshold:
            kept.append(row)
    return vectors[kept]


# Where intents come from


def check_intents(intents: object) -> list[str]:
    """Raises ValueError unless they are texts, at most MAX_INTENTS."""
    if not isinstance(intents, list | tuple) or not all(isinstance(intent, str) for intent in intents):
        raise ValueError("intents must be a list of texts")
    if len(intents) > MAX_INTENTS:
        raise ValueError(f"{len(intents)} intents are too many: at most {MAX_INTENTS}")
    return _tidy(intents)


def make_intents(text: str, pieces: Sequence[Span], complete: Complete | None) -> list[str]:
    """From the language model, section by section; without one, or where it says nothing, from the text itself."""
    asked = _ask(text, pieces, complete) if complete else []
    return asked or local_intents(text, pieces)


def num_intents(num_sentences: int) -> int:
    """10 to 15 up to a hundred sentences, 40 from four hundred on: the paper's numbers, with a line between."""
    if num_sentences <= 100:
        return 10 + num_sentences // 20
    return min(40, 15 + (num_sentences - 100) // 12)


def _ask(text: str, pieces: Sequence[Span], complete: Complete) -> list[str]:
    sections = [pieces[i : i + SECTION_SENTENCES] for i in range(0, len(pieces), SECTION_SENTENCES)]
    sections = sections[:: -(-len(sections) // MAX_INTENTS)]  # of a very long text as many as there may be intents
    each = max(1, -(-num_intents(len(pieces)) // len(sections)))
    lines: list[str] = []
    for section in sections:
        part = text[section[0][0] : section[-1][1]].strip()
        lines.extend(complete(PROMPT.format(num=each, part=part)).splitlines()[: 2 * each])
    return _tidy(lines)[:MAX_INTENTS]


def _tidy(lines: Sequence[str]) -> list[str]:
    """Without numbering, bullets, repetitions and what is no question or phrase."""
    tidied = [re.sub(r"^[\s\-*•]*(?:\(?\d+[.):]\s*)?", "", line).strip()[:MAX_INTENT_CHARS] for line in lines]
    return list(dict.fromkeys(line for line in tidied if any(map(str.isalpha, line))))


_HEADING = re.compile(r"^#{1,6}[ \t]+(.+?)[ \t#]*$", re.MULTILINE)
_WORD = re.compile(r"[^\W\d_][\w'’-]*")
_STOP_WORDS = """
a about above after again against all also am an and any are as at be because been before being below between both
but by can could did do does doing down during each even few for from further had has have having he her here hers
him his how however i if in into is it its just like may me might more most much must my no nor not now of off on
once one only or other our ours out over own said same say says shall she should since so some such than that the
their theirs them then there these they this those though through to too two under until up upon us very was we
were what when where which while who whom whose why will with within without would yet you your
"""
_STOP = frozenset(_STOP_WORDS.split())


def local_intents(text: str, pieces: Sequence[Span]) -> list[str]:
    """Headings and the key phrases of each section, as questions; [] for a text without words."""
    headings = [match.group(1) for match in _HEADING.finditer(text)]
    sections = [pieces[i : i + PHRASE_SECTION_SENTENCES] for i in range(0, len(pieces), PHRASE_SECTION_SENTENCES)]
    everywhere = Counter(word.casefold() for word in _WORD.findall(text))
    phrases: list[str] = []
    for section in sections:
        part = text[section[0][0] : section[-1][1]]
        phrases.extend(key_phrases(part, everywhere)[:PHRASES_A_SECTION])
    room = max(MAX_INTENTS - len(headings), MAX_INTENTS // 2)
    distinct_phrases = list(dict.fromkeys(phrases))
    spread = distinct_phrases[:: max(1, -(-len(distinct_phrases) // room))]
    asked = [f"What does it say about {heading}?" for heading in headings]
    asked = asked[:: max(1, -(-len(asked) // (MAX_INTENTS // 2)))]
    return _tidy([*asked, *(f"What is said about {phrase}?" for phrase in spread)])[:MAX_INTENTS]


def key_phrases(part: str, everywhere: Counter[str]) -> list[str]:
    """Up to three content words in a row, best first: by how often they come in the part and how seldom elsewhere.

    Of phrases that share a word only the best is kept.
    """
    counts: Counter[str] = Counter()
    for line in re.split(r"[^\w\s'’-]|\n", part):
        run: list[str] = []
        for word in [*_WORD.findall(line), ""]:
            if word and word.casefold() not in _STOP and len(word) > 2:
                run.append(word.casefold())
                continue
            counts.update(" ".join(run[i:j]) for i in range(len(run)) for j in range(i + 1, min(i + 3, len(run)) + 1))
            run = []

    def worth(phrase: str) -> float:
        words = phrase.split()
        elsewhere = (max(0, everywhere[word] - counts[phrase]) for word in words)
        rarity = sum(1.0 / (1.0 + times) for times in elsewhere) / len(words)
        return float(counts[phrase] * (len(words) ** 0.5) * (0.1 + rarity))

    kept: list[str] = []
    used: set[str] = set()
    for phrase in sorted(counts, key=lambda phrase: (-worth(phrase), phrase)):
        if used.isdisjoint(phrase.split()):
            kept.append(phrase)
            used.update(phrase.split())
    return kept
