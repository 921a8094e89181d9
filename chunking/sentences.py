"""Sentences as spans that cover the text: the smallest pieces that most strategies put together.

By rules, in any script that marks its sentences' ends; white space belongs to the sentence before it.
"""

from __future__ import annotations

import re

from .types import Span

_END = re.compile(
    r"""
      [.!?…]+ ["'”’»)\]]* (?:\s+|$)      # a mark, closing quotes, white space
    | [。！？｡।॥؟۔]+ [」』”’）]* \s*          # scripts that put no space after it
    | [ \t]* (?:\r\n|\r|\n) [ \t]* (?:(?:\r\n|\r|\n)\s*)+   # a blank line
    | [ \t]* (?:\r\n|\r|\n)\s*           # a line's end
    """,
    re.VERBOSE,
)
_ABBREVIATION = re.compile(
    r"mr|mrs|ms|dr|prof|st|jr|sr|inc|ltd|co|corp|vs|etc|al|fig|figs|eq|eqs|no|nos|vol|"
    r"pp|ed|eds|approx|dept|est|gen|col|capt|lt|sgt|rep|sen|gov|rev|hon|e\.g|i\.e|cf|u\.s|u\.k|a\.m|"
    r"p\.m|jan|feb|mar|apr|jun|jul|aug|sep|sept|oct|nov|dec|ref|sec|ch|art|ca"
)
_WORD_BEFORE = re.compile(r"[\w.]*\w$")
_LIST_MARKER = re.compile(r"(?:^|[\n\r]|\\n)[ \t]*$")  # before the number of a list's item; also in escaped text
_LOWER_CASE_SHARE = 0.005  # of the letters, under which a text is taken to be written without capitals
_MIN_CAPITALS_SAMPLE = 20_000  # characters looked at to tell
_OPENING = " \t\"'“‘«([—–-"


def sentence_spans(text: str) -> list[Span]:
    """Spans of the sentences, in order, without a gap: `"".join(text[a:b] for a, b in spans) == text`.

    A line that ends inside a sentence (the next begins with a small letter) does not end it.
    """
    without_capitals = _is_without_capitals(text)
    spans: list[Span] = []
    start = 0
    for match in _END.finditer(text):
        end = match.end()
        if end >= len(text):
            break
        if _ends_here(text, match, without_capitals=without_capitals):
            spans.append((start, end))
            start = end
    if start < len(text):
        spans.append((start, len(text)))
    return spans


def _ends_here(text: str, match: re.Match[str], *, without_capitals: bool) -> bool:
    mark, end = text[match.start()], match.end()
    follows = text[end] if text[end] not in _OPENING else text[end : end + 4].lstrip(_OPENING)[:1]
    if mark in " \t\r\n":
        blank = match.group().count("\n") > 1 or match.group().count("\r") > 1
        return blank or without_capitals or not follows.islower()
    if mark != ".":
        return mark not in "!?…" or "\n" in match.group() or without_capitals or not follows.islower()
    if follows.islower() and not without_capitals and "\n\n" not in match.group():
        return False
    word = _WORD_BEFORE.search(text, max(0, match.start() - 12), match.start())
    if word is None:
        return True
    before = word.group().lower()
    if before.isdigit() and _LIST_MARKER.search(text, max(0, word.start() - 3), word.start()):
        return False
    is_initial = len(before) == 1 and word.group().isalpha() and word.group().isupper() and match.group()[-1] == " "
    return not (is_initial or (_ABBREVIATION.fullmatch(before) and "\n" not in match.group()))


def _is_without_capitals(text: str) -> bool:
    sample = text[:_MIN_CAPITALS_SAMPLE]
    letters = sum(map(str.isalpha, sample))
    return letters > 0 and sum(map(str.isupper, sample)) < _LOWER_CASE_SHARE * letters
