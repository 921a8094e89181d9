"""Conversations by their turns: "Name: text" lines, exported chats, chat logs in JSON, chats in Markdown."""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from .blocks import Block, pack
from .cuts import DEFAULT_MAX_TOKENS, check_count
from .tokens import Tokenize, tokenized
from .types import Chunk

MAX_SPEAKER_CHARS = 60
_MAX_SPEAKER_WORDS = 5
_ROLES = frozenset(
    (
        "user", "assistant", "system", "human", "ai", "bot", "agent", "tool", "function", "developer",
        "customer", "operator", "interviewer", "interviewee", "speaker", "moderator", "q", "a"
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
    chunks = pack(document, blocks, max_tokens=max_tokens)
    if not overlap_turns:
        return chunks
    starts = [0, *(turn.start for turn in turns[1:])]
    return [
        document.chunk(start, chunk.end, kind=chunk.kind, headings=chunk.headings if start == chunk.start else ())
        for chunk, start in zip(chunks, _earlier(document, chunks, starts, overlap_turns, max_tokens), strict=True)
    ]


def _earlier(document: Any, chunks: list[Chunk], starts: list[int], overlap: int, max_tokens: int) -> Iterator[int]:
    """Where each chunk starts with the turns of the one before it that fit."""
    places = set(starts)
    yield chunks[0].start
    for before, chunk in pairwise(chunks):
        start = chunk.start
        if start in places:
            index = bisect_left(starts, start)
            for earlier in reversed(starts[max(0, index - overlap) : index]):
                if earlier <= before.start or document.count(earlier, chunk.end) > max_tokens:
                    break
                start = earlier
        yield start


def conversation_turns(text: str) -> list[Turn]:
    """The turns in order; [] where there are none. What stands before the first belongs to it."""
    stripped = text.lstrip("\ufeff \t\r\n")
    if stripped[:1] in ("[", "{"):
        turns = list(_json_turns(text))
        if turns:
            return turns
    return _line_turns(text)


def _line_turns(text: str) -> list[Turn]:
    """Lines that begin with a name: names that come twice, or that are roles; any, where none does."""
    found = [(match.start(), *_speaker(match)) for match in _LINE.finditer(text)]
    found = [turn for turn in found if turn[1]]
    times = Counter(name.lower() for _, name, _ in found)
    known = [turn for turn in found if times[turn[1].lower()] > 1 or turn[1].lower() in _ROLES]
    if any(not is_title for _, _, is_title in known):
        known = [turn for turn in known if not turn[2] or turn[1].lower() in _ROLES]
    chosen = known or [turn for turn in found if not turn[2]]
    return [Turn(start, name) for start, name, _ in chosen]


def _speaker(match: re.Match[str]) -> tuple[str, bool]:
    name = next(value for value in match.groups() if value is not None).strip().strip("*").strip()
    if len(name.split()) > _MAX_SPEAKER_WORDS:
        name = ""
    is_title = match["title"] is not None
    if is_title and name.lower() not in _ROLES:
        name = ""  # a heading that names nobody
    return name, is_title


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
