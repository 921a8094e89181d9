"""Conversations by their turns: "Name: text" lines, exported chats, chat logs in JSON, chats in Markdown."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .blocks import Block, common_headings, cut_for, pack
from .cuts import DEFAULT_MAX_TOKENS, check_count, walk
from .tokens import Tokenize, TokenizedText, tokenized
from .types import Chunk

MAX_SPEAKER_CHARS = 60
_MAX_SPEAKER_WORDS = 5
_ROLES = frozenset(
    (
        "user", "assistant", "system", "human", "ai", "bot", "agent", "tool", "function", "developer",
        "customer", "operator", "interviewer", "interviewee", "speaker", "moderator", "q", "a"
    )
)  # fmt: skip
_LABELS = frozenset(
    (
        "note", "notes", "warning", "example", "examples", "todo", "subject", "re", "ps", "date", "time",
        "update", "edit", "important", "tip", "hint", "caution", "summary", "source", "see", "title", "http",
        "https", "to", "cc", "result", "output", "input", "error", "usage", "steps", "for example", "that is",
        "p.s", "page", "chapter", "figure", "table"
    )
)  # fmt: skip
_TIME = r"(?:[\[(]?\d[\d./,:\- T]*(?:[APap]\.?[Mm]\.?)?Z?[\])]?[ \t]*[-–]?[ \t]*)?"
_LINE = re.compile(
    rf"""^[ \t]*(?:[-*>][ \t]+)?{_TIME}
    (?: \#{{1,6}}[ \t]+(?P<title>\w[^\n:#]{{0,{MAX_SPEAKER_CHARS}}}?) [ \t]*:?[ \t]*$   # a Markdown heading
      | \*\*(?P<bold>[^*\n:]{{1,{MAX_SPEAKER_CHARS}}})(?::\*\*|\*\*[ \t]*(?:\([^)\n]*\))?[ \t]*:)
      | <(?P<angle>[^>\s\n]{{1,{MAX_SPEAKER_CHARS}}})>[ \t]                                   # IRC
      | (?P<name>[^\W\d_][^\n:<>|{{}}\[\]"/\\]{{0,{MAX_SPEAKER_CHARS}}}?)
        [ \t]*(?:[\[(][\d: apmAPM.]+[\])])?[ \t]*[:：](?=\s|$)
    )""",
    re.VERBOSE | re.MULTILINE,
)
_LISTS = re.compile(r'"(?:messages|conversation|conversations|turns|dialogue|dialog|chat|history|items)"\s*:\s*\[')
_SPACES = re.compile(r"[\s,]*")
_SPEAKER_KEYS = ("role", "speaker", "name", "author", "from", "sender", "user")
_TEXT_KEYS = ("content", "text", "message", "value", "body", "utterance", "parts")


@dataclass(frozen=True, slots=True)
class Turn:
    """start: in characters; a turn ends where the next begins. speaker: as written, "" before the first."""

    start: int
    speaker: str


def split_conversation(
    text: str, *, tokenize: Tokenize | None = None, max_tokens: int = DEFAULT_MAX_TOKENS, overlap_turns: int = 0
) -> list[Chunk]:
    """As many whole turns as fit. A longer turn is cut as text; the speaker is its parts' last heading.

    overlap_turns: how many turns of a chunk begin the next one too, fewer where the next would not fit beside them.
    The text is the document's as it is written, JSON too. What has no turns is one turn of nobody. kind is "turn".
    """
    check_count("max_tokens", max_tokens, low=1)
    check_count("overlap_turns", overlap_turns, low=0, high=1000)
    document = tokenized(text, tokenize)
    if not text:
        return []
    turns = conversation_turns(text) or [Turn(0, "")]
    blocks = [Block(turn.start, "turn", (turn.speaker,) if turn.speaker else ()) for turn in turns]
    if overlap_turns:
        return list(_overlapping(document, blocks, max_tokens, overlap_turns))
    return pack(document, blocks, max_tokens=max_tokens)


def _overlapping(text: TokenizedText, blocks: list[Block], max_tokens: int, overlap: int) -> Iterator[Chunk]:
    """As many turns as fit, from up to `overlap` turns before the first new one."""
    places = [0, *(block.start for block in blocks[1:]), len(text.text)]
    first = new = 0
    while new < len(blocks):
        last = new
        while last < len(blocks) and text.count(places[first], places[last + 1]) <= max_tokens:
            last += 1
        if last > new:
            headings = common_headings([block.headings for block in blocks[first:last]])
            yield text.chunk(places[first], places[last], kind="turn", headings=headings)
        elif first < new:
            first += 1
            continue
        else:
            last = new + 1
            cut = cut_for(text, blocks[new], places[last], max_tokens=max_tokens)
            for start, end in walk(text, cut, places[new], places[last]):
                yield text.chunk(start, end, kind="turn", headings=blocks[new].headings)
            first = last
        first, new = max(first, last - overlap), last


def conversation_turns(text: str) -> list[Turn]:
    """The turns in order; [] where there are none. What stands before the first belongs to it."""
    stripped = text.lstrip("\ufeff \t\r\n")
    if stripped[:1] in ("[", "{"):
        turns = list(_json_turns(text))
        if turns:
            return turns
    return _line_turns(text)


def _line_turns(text: str) -> list[Turn]:
    """Lines that begin with a name: one that comes twice, a role, or what looks like a name and not like a label."""
    found = [(match.start(), _speaker(match), match) for match in _LINE.finditer(text)]
    found = [turn for turn in found if turn[1]]
    times = Counter(name.lower() for _, name, _ in found)
    if any(match["title"] is None and name.lower() in _ROLES for _, name, match in found):
        found = [turn for turn in found if turn[2]["title"] is None]  # headings inside what is said
    return [Turn(start, name) for start, name, match in found if _is_speaker(name, match, times)]


def _is_speaker(name: str, match: re.Match[str], times: Counter[str]) -> bool:
    lower = name.lower()
    if lower in _ROLES or match["name"] is None:
        return True
    if lower in _LABELS:
        return False
    return times[lower] > 1 or (not name.islower() and len(name.split()) <= 2)


def _speaker(match: re.Match[str]) -> str:
    """The name as written; "" for a heading that names no role, and for what is too long for a name."""
    name = next(value for value in match.groups() if value is not None).strip().strip("*").strip()
    if len(name.split()) > _MAX_SPEAKER_WORDS or (match["title"] is not None and name.lower() not in _ROLES):
        return ""
    return name


def _json_turns(text: str) -> Iterator[Turn]:
    """Objects with a speaker and words, in a list at the outer level, in lists of messages, or one a line."""
    decoder = json.JSONDecoder()
    spaces = _SPACES.match(text, 1 if text[0] == "\ufeff" else 0)
    place = spaces.end() if spaces else 0
    if text[place] == "[":
        found = list(_objects(text, place + 1, decoder))
    else:
        found = list(_objects(text, place, decoder))
    if any(_speaker_of(value) is not None for _, value in found):
        yield from _turns_of(found)
        return
    last = 0
    for match in _LISTS.finditer(text):
        if match.end() <= last:
            continue
        found = list(_objects(text, match.end(), decoder))
        if found:
            last = found[-1][0]
        yield from _turns_of(found)


def _turns_of(found: list[tuple[int, Any]]) -> Iterator[Turn]:
    for start, value in found:
        speaker = _speaker_of(value)
        if speaker is not None:
            yield Turn(start, speaker)


def _objects(text: str, place: int, decoder: json.JSONDecoder) -> Iterator[tuple[int, Any]]:
    """(start, value) of the JSON objects that follow each other from place on, as far as they can be read."""
    while True:
        spaces = _SPACES.match(text, place)
        place = spaces.end() if spaces else place
        if text[place : place + 1] != "{":
            return
        try:
            value, end = decoder.raw_decode(text, place)
        except (ValueError, RecursionError):
            return
        yield place, value
        place = end


def _speaker_of(value: Any) -> str | None:
    """The speaker of a message; None for what is no message."""
    if not isinstance(value, Mapping):
        return None
    if isinstance(value.get("message"), Mapping):
        value = value["message"]
    if not any(isinstance(value.get(key), str | list | Mapping) for key in _TEXT_KEYS):
        return None
    for key in _SPEAKER_KEYS:
        speaker = value.get(key)
        if isinstance(speaker, Mapping):
            speaker = speaker.get("role") or speaker.get("name")
        if isinstance(speaker, str) and speaker.strip():
            return speaker.strip()[:MAX_SPEAKER_CHARS]
    return None
