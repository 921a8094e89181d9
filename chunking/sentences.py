"""Sentences as spans that cover the text: the smallest pieces that most strategies put together.

By rules, in any script that marks its sentences' ends; white space belongs to the sentence before it. Whether a place
ends a sentence depends on few characters around it (MAX_CONTEXT), so a part of a text gives the ends of the whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from .types import Span

MAX_CONTEXT = 256
"""Characters after a sentence's end that may decide whether it is one, the white space that follows left aside."""

_STARTERS = (
    "The|This|That|These|Those|There|Then|They|It|Its|He|She|We|You|I|In|On|At|As|An|A|And|But|So|If|When|While|What|"
    "Why|How|Who|Where|His|Her|Our|My|Your|Their|For|From|To|No|Yes|Not|Some|Many|Most|All|Such|After|Before|Since|"
    "However|Although|Because|Also|Another|One|Let|Or"
)
_MARKS = "。！？｡।॥؟۔։\\u1362\\u17d4\\u1803\\u104a\\u104b"  # of scripts that need no space after them
_END = re.compile(
    rf"""
    [.!?…．{_MARKS}\n\r\f\v\x85\u2028\u2029]          # a set in front, so that the search is a fast scan
    (?:
        (?<=[.!?…]) [.!?…]*+ (?: [ \u00a0\u202f]?[»›] (?=\s|\Z) )? ["'”’“»«›‹)\]*_]*+  # a mark and closing quotes, then
        (?: \s++                                             #   white space,
          | (?= (?<=[a-z][a-z][.!?]) (?:{_STARTERS})[ ,'] )   #   or a word that begins sentences: the space is missing,
          | (?P<no>) )                                        #   or it is none; matched, so that no run is read twice
      | (?<=[{_MARKS}]) [{_MARKS}…]*+ [」』”’）》】"')]*+ \s*+   # scripts that need no space after it
      | (?<=．) (?: (?!\d) [」』”’）]*+ \s*+ | (?P<number>) )
      | (?<=[\n\r\f\v\x85\u2028\u2029]) \s*+                # a line's end
    )
    """,
    re.VERBOSE,
)
_STARTER = re.compile(rf"(?:{_STARTERS})\b")
_NEVER_LAST = re.compile(
    r"(?:mr|mrs|ms|dr|prof|messrs|mme|mlle|vs|e\.g|i\.e|cf|approx|viz|resp|hrsg|bzw|z\.b|d\.h|u\.a)"
)
_TITLE = re.compile(r"(?:St|Mt|Ft|Gen|Col|Capt|Cpt|Lt|Sgt|Cpl|Maj|Adm|Rep|Sen|Gov|Rev|Hon|Pres|Sr|Sra|Dept|Est|Ed|Eds)")
_BEFORE_NUMBER = re.compile(
    r"(?:no|nos|nr|p|pp|vol|vols|fig|figs|eq|eqs|sec|sect|ch|chap|art|arts|ref|refs|para|pt|bk|tab|ver|op|ca|c|abb|bd|рис|стр|гл|табл|"
    r"jan|feb|mar|apr|jun|jul|aug|sep|sept|oct|nov|dec)"
)
_SELDOM_LAST = re.compile(
    r"(?:inc|ltd|co|corp|bros|jr|sr|etc|al|est|a\.m|p\.m|u\.s|u\.k|u\.s\.a|u\.n|ph\.d|m\.d|b\.a|m\.a|d\.c|"
    r"(?:[a-z]\.)+[a-z])"
)
_UNFINISHED = re.compile(
    r"(?:[,(–—]|\b(?:the|a|an|of|and|or|to|in|for|with|by|at|on|from|as|that|is|was|are|were|his|her|their|its|my|our|"
    r"Mr\.|Mrs\.|Ms\.|Dr\.|St\.))$"
)  # how a wrapped line ends, but no sentence
_MIN_WRAPPED_CHARS = 40  # a shorter line was not broken for want of room
_LIST_MARKER = re.compile(r"(?:^|[\n\r]|\\n)[ \t>*+-]*$")  # before the number of a list's item; also in escaped text
_ITEM_AHEAD = re.compile(r"(?:[-*+•–] +\S|(?:[A-Za-z]|[ivx]{1,4}|\d{1,3})[.)] )")
_LOWER_CASE_SHARE = 0.005  # of the letters, under which a text is taken to be written without capitals
CAPITALS_SAMPLE = 20_000  # characters looked at to tell
_OPENING = " \t\"'“‘«‹»›([{—–-¿¡„‚「『（【《*_#>"
_MAX_OPENING = 6
_MAX_ABBREVIATION = 8


def sentence_spans(text: str) -> list[Span]:
    """Spans of the sentences, in order, without a gap: `"".join(text[a:b] for a, b in spans) == text`.

    A line that ends inside a sentence (the next begins with a small letter) does not end it.
    """
    spans: list[Span] = []
    start = 0
    for end in sentence_ends(text):
        spans.append((start, end))
        start = end
    if start < len(text):
        spans.append((start, len(text)))
    return spans


def sentence_ends(
    text: str, start: int = 0, stop: int | None = None, *, without_capitals: bool | None = None
) -> Iterator[int]:
    """Where sentences end in (start, stop], ascending; never the text's own end.

    without_capitals: how `is_without_capitals` judges the document that the text is a part of.
    """
    if without_capitals is None:
        without_capitals = is_without_capitals(text)
    stop = len(text) if stop is None else stop
    size = len(text)
    for match in _END.finditer(text, start, min(size, stop + MAX_CONTEXT)):
        end = match.end()
        if end >= size or end > stop:
            return
        if match.lastgroup is None and _ends_here(text, match, end, without_capitals):
            yield end


def is_without_capitals(text: str) -> bool:
    """Whether the beginning of the text has letters but no capitals, as some people chat."""
    sample = text[:CAPITALS_SAMPLE]
    if sample.isascii():
        lower = len(sample.encode("ascii").translate(None, _NOT_LOWER))
        upper = len(sample.encode("ascii").translate(None, _NOT_UPPER))
        return lower + upper > 0 and upper < _LOWER_CASE_SHARE * (lower + upper)
    letters = sum(map(str.isalpha, sample))
    cased = sum(char.isupper() or char.islower() for char in sample)
    return cased > letters / 2 and sum(map(str.isupper, sample)) < _LOWER_CASE_SHARE * letters


_NOT_LOWER = bytes(code for code in range(256) if not chr(code).isascii() or not chr(code).islower())
_NOT_UPPER = bytes(code for code in range(256) if not chr(code).isascii() or not chr(code).isupper())


def _ends_here(text: str, match: re.Match[str], end: int, without_capitals: bool) -> bool:
    place = match.start()
    mark = text[place]
    follows = text[end]
    if follows in _OPENING:
        follows = text[end : end + _MAX_OPENING].lstrip(_OPENING)[:1]
    if mark in ".!?…":
        if follows.islower() and not without_capitals and not _begins_anew(text, match.group(), end):
            return False
        return mark != "." or _ends_at_full_stop(text, match, place, end)
    if mark in "\n\r\f\v\x85\u2028\u2029":
        if without_capitals or _ITEM_AHEAD.match(text, end):
            return True
        if follows.islower():
            return _has_blank_line(match.group())
        return not _is_wrapped(text, place) or _has_blank_line(match.group())
    return True


def _begins_anew(text: str, found: str, end: int) -> bool:
    """Whether what follows is a new paragraph or an item of a list, though it begins with a small letter."""
    return _has_blank_line(found) or (("\n" in found or "\r" in found) and _ITEM_AHEAD.match(text, end) is not None)


def _has_blank_line(found: str) -> bool:
    return found.count("\n") > 1 or found.count("\r") > 1 or "\f" in found or "\u2029" in found


def _is_wrapped(text: str, place: int) -> bool:
    """Whether the line that ends at `place` ends as only a wrapped line does: in an article, a preposition, a comma."""
    line = text[max(0, place - _MIN_WRAPPED_CHARS) : place].rstrip()
    return len(line) > _MIN_WRAPPED_CHARS - 4 and "\n" not in line and _UNFINISHED.search(line[-8:]) is not None


def _ends_at_full_stop(text: str, match: re.Match[str], place: int, end: int) -> bool:
    """What abbreviations, initials and the numbers of list items say about a full stop."""
    tail = text[max(0, place - _MAX_ABBREVIATION) : place]
    if tail[-_MAX_ABBREVIATION + 1 :].isalpha() and len(tail) >= _MAX_ABBREVIATION - 1:
        return True  # a word of seven letters is no abbreviation
    begin = len(tail)
    while begin and (tail[begin - 1].isalnum() or tail[begin - 1] in "._"):
        begin -= 1
    word = tail[begin:].lstrip(".")
    if not word:
        return True
    if word.replace(".", "").isdigit() or len(word) == 1:
        at = place - len(word)
        if _LIST_MARKER.search(text, max(0, at - 8), at):
            return False
        if word[0].isdigit():
            return True
    found = match.group()
    if "\n" in found or "\r" in found:  # a line that ends in an abbreviation may be wrapped, but seldom is
        return not _NEVER_LAST.fullmatch(word.lower()) or _has_blank_line(found)
    return _ends_after_word(text, word, end)


def _ends_after_word(text: str, word: str, end: int) -> bool:
    lower = word.lower()
    if _NEVER_LAST.fullmatch(lower) or _TITLE.fullmatch(word):
        return False
    if _BEFORE_NUMBER.fullmatch(lower) and (text[end].isdigit() or (len(lower) > 2 and text[end] in "IVX(")):
        return False
    is_initial = len(word) == 1 and word.isupper()
    if is_initial or _SELDOM_LAST.fullmatch(lower):
        return _STARTER.match(text, end) is not None
    return True
