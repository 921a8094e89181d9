"""Where in a message the words are that a memory rests on, and whether the two say the same."""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Iterator

import snowballstemmer
from rapidfuzz import fuzz

FUZZY_CUTOFF = 90.0  # of 100, rapidfuzz's partial ratio: a slip of the model, not other words
MIN_FUZZY_CHARS = 8  # below, one letter makes another word
MIN_CJK = "\u0e00"  # from Thai on, scripts that put no spaces between words

_SAME_CHARS = str.maketrans(
    "‘’‚‛`´“”„«»‐‑‒–—−",
    "''''''\"\"\"\"\"------",
    "\u200b\u200c\u200d\u2060\ufeff\u00ad",  # take no room
)
_NEGATIONS = """
    not no never none nobody nothing neither nor cannot without hardly barely stopped quit
    nicht kein keine nie pas jamais sans nunca jamás sin não sem non mai senza
"""
# Few on purpose: words such as "before", "more" and "her" tell two facts apart.
_STOP_WORDS = """
    a an the and or but of to in on at by for from with as that this it its is are was were be been being am
    do does did has have had will would i me my you your we us our yes yeah ok okay oh so very just really
    also too
"""
_negation_words, _stop_words = frozenset(_NEGATIONS.split()), frozenset(_STOP_WORDS.split())


def ground(quote: str, content: str) -> tuple[int, int] | None:
    """The span of `content` that `quote` stands for, as (start, end) in characters, or None.

    Tried in this order: the very words; the same but for case, spaces, accents, quotation marks and dashes;
    nearly the same, if no number and no negation differs. A span begins and ends with whole words.
    """
    quote = quote.strip().strip("\"'“”‘’«»").strip()
    wanted, _ = _fold(quote)
    if not any(char.isalnum() for char in wanted):
        return None
    for start in _starts(quote, content):
        return start, start + len(quote)
    folded, origin = _fold(content)
    span = next(((i, i + len(wanted)) for i in _starts(wanted, folded)), None) or _near(wanted, folded)
    if span is None:
        return None
    start, end = origin[span[0]], origin[span[1] - 1] + 1
    while end < len(content) and unicodedata.combining(content[end]):  # an accent written after its letter
        end += 1
    return start, end


def content_words(text: str) -> frozenset[str]:
    """Stems of the words that carry meaning; pairs of characters where words are not spaced."""
    words: set[str] = set()
    for word in re.findall(r"\w+", _fold(text)[0]):
        if max(word) >= MIN_CJK:
            words.update(word[i : i + 2] for i in range(max(1, len(word) - 1)))
        elif word not in _stop_words and (len(word) > 1 or word.isdigit()):
            words.add(_stem(word))
    return frozenset(words)


def numbers(text: str) -> list[str]:
    """The numbers in `text`, sorted."""
    return sorted(re.findall(r"\d+(?:[.,:]\d+)*", text))


def negations(text: str) -> int:
    """How many words of `text` deny. Covers English and the commonest words of five neighbours."""
    words = re.findall(r"\w+(?:'\w+)?", text.casefold().translate(_SAME_CHARS))
    return sum(word in _negation_words or word.endswith("n't") for word in words)


def _starts(wanted: str, text: str) -> Iterator[int]:
    """Where `wanted` stands in `text` as whole words."""
    at = text.find(wanted)
    while at >= 0:
        end = at + len(wanted)
        if not _joined(text[at - 1 : at], wanted[0]) and not _joined(wanted[-1], text[end : end + 1]):
            yield at
        at = text.find(wanted, at + 1)


def _joined(left: str, right: str) -> bool:
    """Whether two neighbouring characters are inside one word."""
    return left.isalnum() and right.isalnum() and max(left, right) < MIN_CJK


def _near(wanted: str, text: str) -> tuple[int, int] | None:
    if len(wanted) < MIN_FUZZY_CHARS:
        return None
    if len(wanted) > len(text):  # partial ratio would look for the text in the quote
        span = (0, len(text)) if fuzz.ratio(wanted, text) >= FUZZY_CUTOFF else None
    else:
        found = fuzz.partial_ratio_alignment(wanted, text, score_cutoff=FUZZY_CUTOFF)
        span = _whole_words(wanted, text, found.dest_start, found.dest_end) if found else None
    if span is None:
        return None
    matched = text[slice(*span)]
    same = numbers(wanted) == numbers(matched) and negations(wanted) == negations(matched)
    return span if same else None


def _whole_words(wanted: str, text: str, start: int, end: int) -> tuple[int, int]:
    """The span of whole words around [start, end) that is most like `wanted`.

    An alignment is as long as what was wanted, so where letters were lost or added it is off by a word at
    either end.
    """
    words = [match.span() for match in re.finditer(r"\w+", text)]
    first = next((i for i, word in enumerate(words) if word[1] > start), len(words) - 1)
    last = next((i for i in range(len(words) - 1, -1, -1) if words[i][0] < end), 0)
    starts = [word[0] for word in words[max(0, first - 1) : first + 2]]
    ends = [word[1] for word in words[max(0, last - 1) : last + 2]]
    if not _joined(text[start - 1 : start], text[start]):
        starts.append(start)
    if not _joined(text[end - 1], text[end : end + 1]):
        ends.append(end)
    spans = [(s, e) for s in starts for e in ends if s < e]
    return max(spans, key=lambda span: fuzz.ratio(wanted, text[slice(*span)]), default=(start, end))


@functools.lru_cache(maxsize=64)
def _fold(text: str) -> tuple[str, tuple[int, ...]]:
    """`text` without what does not matter, and for each character kept the index it had.

    Cached: every fact of an answer is looked for in the same few messages.
    """
    folded: list[str] = []
    origin: list[int] = []
    for index, char in enumerate(text):
        if char.isspace():
            if folded and folded[-1] != " ":
                folded.append(" ")
                origin.append(index)
            continue
        for part in unicodedata.normalize("NFKD", char.translate(_SAME_CHARS)).casefold():
            if not unicodedata.combining(part):
                folded.append(part)
                origin.append(index)
    if folded and folded[-1] == " ":
        folded.pop()
        origin.pop()
    return "".join(folded), tuple(origin)


@functools.lru_cache(maxsize=20_000)
def _stem(word: str) -> str:
    return str(_stemmer().stemWord(word))


@functools.cache
def _stemmer() -> snowballstemmer.EnglishStemmer:
    return snowballstemmer.stemmer("english")
