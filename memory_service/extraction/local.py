"""Extraction without a model: what was said, made absolute in time, and the plain statements in it.

Deterministic and pure; well under a millisecond a message.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import datetime

from ..timeexpr import TimeExpression, annotate, find_time_expressions, make_absolute
from .entities import find_entities
from .rendered import strip_rendered
from .statements import Statement, find_self_name, find_statements
from .types import Candidate, EntityMention, Extraction, Grounding, SourceMessage

MAX_PART_CHARS = 900  # some 200 tokens: under the 256 that the default embedding model reads
_MAX_QUESTION_CHARS = 160
_SHORT_ANSWER_WORDS = 6

_WORDS = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
_SENTENCE_END = re.compile(r"[.!?…]+[\"”')\]]*\s+|\n+")
_QUESTION = re.compile(r"[^.!?\n]*\?")
_SOUND = re.compile(r"a*h*(?:ha|he)+h*|lo+l+|a+w+|o+h+|so+|y+a+y+|h+m+|w+o+w+|x+d?|ye+s+|no+")
_YES_NO_QUESTION = re.compile(
    r"\W*(?:(?:and|so|but|wow|oh|ok|okay|hey|well)\W+)*(?:do|does|did|"
    r"is|are|was|were|have|has|had|can|could|will|would|should|may|am"
    r"|isn't|aren't|don't|doesn't|didn't|haven't|won't)\b",
    re.IGNORECASE,
)


def _word_set(text: str) -> frozenset[str]:
    return frozenset(text.split())


_YES_NO = _word_set(
    "yes no yeah yep yup nope nah yea not never sometimes always definitely absolutely totally sure course"
)

# A turn of these words alone says nothing to remember. Everything else is kept.
_FILLER = _word_set("""
    a ah aha all alright am amazing an and anyway are as aw aww awesome awful be been best brilliant
    but bye by can can't care chat cheers cool congrats congratulations course cute day definitely
    did do does doing done dude er evening exactly excellent fab fabulous fair fantastic fine for
    funny glad gladly go good goodbye goodnight gosh got gotcha great guess guys ha haha hah hahaha
    happy have haven't hear hehe hello hey hi hiya hmm how how's hows hope hugs i i'd i'll i'm i've
    idea im impressive in incredible indeed interesting is it it'd it'll it's its just kidding kind
    kinda know later lets let's like lmao lol long look looks love lovely luck lucky makes man many
    mate me meet meeting mhm mm morning much my n nah neat never nice night no nope not of oh ok
    okay omg on once one oops ooh other our perfect please pleasure point pretty probably problem
    rad really right rofl same see seeing sense shall she so some soon sorry sound sounds speak
    stuff such super superb sure sweet ta take talk talking tell terrific thank thanks thankyou that
    that'd that'll that's thats the them then there there's these they thing things think this those
    though thx tmrw to today tonight too totally touch true truly ttyl tu u ugh uh um understand
    understood up ur us very wait was we we'll we're welcome well were what what's whats when whoa
    will wish with woah wonderful word words works worries would wow yay ya yea yeah yep yes you
    you'd you'll you're you've your yours yup keep weekend appreciate appreciated agree agreed bet
    deal noted catch around time nothing everything fun more most anytime take support kudos bravo
    props hang there's here here's proud deserve work hard job
    """)
# Filler words can be news together: "I got the job", "I love work".
_NEWS = re.compile(
    r"\b(?:i(?:'ve)?|we(?:'ve)?)\s+(?:\w+\s+)?(?:got|did|was|were|love|"
    r"work|works|had|have\s+(?!to\b|been\b)|will\s+(?!do\b|see\b|talk\b|"
    r"take\b|keep\b|let\b)|can't)\b(?!\s+(?:it|that|this)\b)",
    re.IGNORECASE,
)

_TIMELESS = frozenset({"birthday", "born on"})  # the date is the value, not when it became true
_CATEGORIES = {
    "name": "personal_details",
    "birthday": "personal_details",
    "age": "personal_details",
    "lives in": "personal_details",
    "moved to": "personal_details",
    "moved from": "personal_details",
    "born in": "personal_details",
    "from": "personal_details",
    "grew up in": "personal_details",
    "speaks": "personal_details",
    "marital status": "personal_details",
    "hometown": "personal_details",
    "works as": "professional_details",
    "works at": "professional_details",
    "works in": "professional_details",
    "job": "professional_details",
    "likes": "user_preferences",
    "dislikes": "user_preferences",
    "prefers": "user_preferences",
    "diet": "food",
    "is allergic to": "health",
    "was diagnosed with": "health",
    "suffers from": "health",
    "plays": "hobbies",
    "collects": "hobbies",
    "is learning": "hobbies",
}


def extract_local(messages: Sequence[SourceMessage], *, context: Sequence[SourceMessage] = ()) -> Extraction:
    """What was said in the messages, turn by turn, and the statements in it.

    context: earlier messages; they are read, for questions and names, but not remembered.
    """
    extraction = Extraction()
    people = _People(context, messages)
    previous = context[-1] if context else None
    for message in messages:
        people.hear(message)
        if message.role != "system":
            extraction.candidates += _from_message(message, previous, people)
        previous = message
    return extraction


class _People:
    """Who speaks, and under what name: an unnamed user may introduce themself on the way."""

    def __init__(self, context: Sequence[SourceMessage], messages: Sequence[SourceMessage]) -> None:
        self._introduced: dict[str, str] = {}
        self.known = {message.name for message in (*context, *messages) if message.name}
        for message in context:
            self.hear(message)

    def hear(self, message: SourceMessage) -> None:
        if (
            message.name is None
            and message.role == "user"
            and (found := find_self_name(strip_rendered(message.content)[0]))
        ):
            self._introduced[message.role] = found[0]
            self.known.add(found[0])

    def speaker(self, message: SourceMessage) -> str:
        return message.name or self._introduced.get(message.role) or message.speaker

    def is_person(self, message: SourceMessage) -> bool:
        """An unnamed assistant has no home and no favourite colour, whatever it says."""
        return message.name is not None or message.role == "user"


def _from_message(message: SourceMessage, previous: SourceMessage | None, people: _People) -> list[Candidate]:
    content, _ = strip_rendered(message.content)
    question = _asked(message, previous, people)
    statements = list(_statements(message, content, people)) if people.is_person(message) else []
    if not statements and is_trivial(content, names=people.known) and not (question and _answers(content, question)):
        return []
    speaker = people.speaker(message)
    parts = list(_parts(content))
    short = question is not None and len(parts) == 1 and _is_short_answer(content)
    candidates = [
        _episodic(message, content, span, part, speaker, people, question if short else None)
        for part, span in enumerate(parts)
    ]
    return candidates + [_semantic(message, content, statement, people) for statement in statements]


def _statements(message: SourceMessage, content: str, people: _People) -> Iterator[Statement]:
    if message.name is None and (found := find_self_name(content)):
        name, start, end = found
        yield Statement(f"The user's name is {name}", "User", "name", name, start, end, 0.95)
    yield from find_statements(content, speaker=people.speaker(message))


def is_trivial(content: str, *, names: set[str] | frozenset[str] = frozenset()) -> bool:
    """Whether a turn is greeting, thanks, acknowledgement or empty, so that there is nothing to remember.

    names: of the people in the conversation; a turn may call them without saying anything.
    """
    words = [word.replace("’", "'") for word in _WORDS.findall(content)]
    if len(words) > 40:
        return False
    called = {part.lower() for name in names for part in name.split()}
    return all(_is_filler(word.lower(), called) for word in words) and not _NEWS.search(content.replace("’", "'"))


def _is_filler(word: str, called: set[str]) -> bool:
    return word in _FILLER or word in called or bool(_SOUND.fullmatch(word))


def _asked(message: SourceMessage, previous: SourceMessage | None, people: _People) -> str | None:
    """The question that somebody else's last message ends with, if it does."""
    if previous is None or previous.role == "system" or people.speaker(previous) == people.speaker(message):
        return None
    content = strip_rendered(previous.content)[0].split(" [", 1)[0].rstrip()
    if not content.endswith("?"):
        return None
    question = " ".join(_QUESTION.findall(content)[-1].split())
    return question if 0 < len(question) <= _MAX_QUESTION_CHARS else None


def _answers(content: str, question: str) -> bool:
    """Whether words that are filler by themselves answer the question: a name, or yes or no to something."""
    words = [word.lower() for word in _WORDS.findall(content)]
    if not words or is_trivial(question):
        return False
    if any(word not in _FILLER for word in words):
        return True  # nothing but a name that we know: the answer to "who"
    return bool(_YES_NO_QUESTION.match(question)) and words[0] in _YES_NO and len(words) <= _SHORT_ANSWER_WORDS


def _is_short_answer(content: str) -> bool:
    return len(_WORDS.findall(content)) <= _SHORT_ANSWER_WORDS and "?" not in content


def _parts(content: str) -> Iterator[tuple[int, int]]:
    """[start, end) of pieces of at most MAX_PART_CHARS, cut at a sentence's end, a space, or hard."""
    position, length = 0, len(content)
    while True:
        while position < length and content[position].isspace():
            position += 1
        if position >= length:
            return
        end = length if length - position <= MAX_PART_CHARS else _cut(content, position)
        stop = end
        while stop > position and content[stop - 1].isspace():
            stop -= 1
        yield position, stop
        position = end


def _cut(content: str, position: int) -> int:
    limit = position + MAX_PART_CHARS
    ends = [m.end() for m in _SENTENCE_END.finditer(content, position, limit)]
    if ends and ends[-1] - position > MAX_PART_CHARS // 3:
        return ends[-1]
    space = content.rfind(" ", position + 1, limit)
    return space if space > position + MAX_PART_CHARS // 3 else limit


def _episodic(
    message: SourceMessage,
    content: str,
    span: tuple[int, int],
    part: int,
    speaker: str,
    people: _People,
    question: str | None,
) -> Candidate:
    said = " ".join(content[span[0] : span[1]].split())
    times = find_time_expressions(said, reference=message.said_at)
    asked = f' (asked: "{question}")' if question else ""
    return Candidate(
        text=f"{speaker}: {annotate(said, times)}{asked}",
        kind="episodic",
        grounding=(Grounding(message.id, *span),),
        speaker=speaker,
        part=part,
        valid_at=_valid_at(times),
        entities=_with_speaker(speaker, find_entities(said, known=people.known)),
    )


def _valid_at(times: list[TimeExpression]) -> datetime | None:
    """The one time that the text names; None where it names several, or only roughly."""
    if len(times) != 1 or times[0].vague or times[0].grain == "decade":
        return None
    return times[0].begin


def _with_speaker(speaker: str, found: tuple[EntityMention, ...]) -> tuple[EntityMention, ...]:
    if speaker in ("User", "Assistant") or any(mention.name == speaker for mention in found):
        return found
    return (EntityMention(speaker, "person"), *found)


def _semantic(message: SourceMessage, content: str, statement: Statement, people: _People) -> Candidate:
    said = " ".join(statement.text.split())
    times = find_time_expressions(said, reference=message.said_at)
    return Candidate(
        text=annotate(said, times),
        kind="semantic",
        grounding=(Grounding(message.id, statement.start, statement.end),),
        speaker=people.speaker(message),
        valid_at=None if statement.attribute in _TIMELESS else _valid_at(times),
        entities=_with_speaker(people.speaker(message), find_entities(said, known=people.known)),
        subject=statement.subject,
        attribute=statement.attribute,
        value=statement.value if statement.attribute in _TIMELESS else _without_time(statement.value, message.said_at),
        categories=tuple(filter(None, [_CATEGORIES.get(statement.attribute)])),
        confidence=statement.confidence,
    )


def _without_time(value: str, said_at: datetime) -> str:
    """ "Oslo last March" -> "Oslo": when it happened is valid_at, not part of the value."""
    times = find_time_expressions(value, reference=said_at)
    if not times or times[0].start == 0:
        return make_absolute(value, reference=said_at)
    return re.sub(r"\s+(?:back|in|on|since|for|early|late|earlier|later)$", "", value[: times[0].start].rstrip(" ,"))
