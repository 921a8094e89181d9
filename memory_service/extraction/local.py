"""Extraction without a model: what was said, made absolute in time, and the plain statements in it.

Deterministic and pure; well under a millisecond a message.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime

from ..timeexpr import TimeExpression, annotate, describe, find_time_expressions, make_absolute
from .entities import find_entities
from .rendered import strip_rendered
from .statements import HEARSAY, Statement, find_self_name, find_statements
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
    **dict.fromkeys(
        [
            "name",
            "birthday",
            "age",
            "nationality",
            "speaks",
            "hometown",
            "address",
            "email",
            "religion",
            "partner",
            "lives in",
            "born in",
            "born on",
            "from",
            "grew up in",
            "marital status",
            "phone number",
        ],
        "personal_details",
    ),
    **dict.fromkeys(("works as", "works at", "works in", "employment", "boss", "runs"), "professional_details"),
    **dict.fromkeys(("likes", "prefers"), "user_preferences"),
    **dict.fromkeys(("diet", "eats", "drinks"), "food"),
    **dict.fromkeys(("is allergic to", "suffers from", "takes"), "health"),
    **dict.fromkeys(("plays", "collects", "is learning", "practises"), "hobbies"),
}
# What may stand around statements without saying anything of its own, beside fillers.
_LINKS = _word_set("""
    actually also anyway because besides btw but by correction currently even eventually finally fact fyi honestly
    however i'm in lately luckily mean meant meanwhile mistake misspoke moreover my now nowadays of officially ok on
    plus recently right sadly scratch since so sorry still the then therefore though thus to too unfortunately update
    again all any anymore longer after
    wait way well yes guess what just i it's news big quick after all really am glad
    """)
_LIST_INTRO = re.compile(r"\A[^\n]{0,80}:\s*(?=\n)")
_BULLETS = re.compile(r"(?:^|\n|(?<=[.!?])[ \t]+)\s*(?:\d{1,5}[.)]|[-*•])(?=\s)")


def extract_local(
    messages: Sequence[SourceMessage], *, context: Sequence[SourceMessage] = (), whole_turns: bool = False
) -> Extraction:
    """What was said in the messages, turn by turn, and the statements in it.

    context: earlier messages; they are read, for questions and names, but not remembered.
    whole_turns: every turn stays as it was said, also one that its statements cover; for a caller that has its
    facts from elsewhere.
    """
    extraction = Extraction()
    people = _People(context, messages)
    previous = context[-1] if context else None
    for message in messages:
        people.hear(message)
        if message.role != "system":
            extraction.candidates += _from_message(message, previous, people, whole_turns)
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


def _from_message(
    message: SourceMessage, previous: SourceMessage | None, people: _People, whole_turns: bool
) -> list[Candidate]:
    content, _ = strip_rendered(message.content)
    question = _asked(message, previous, people)
    before = strip_rendered(previous.content)[0] if previous is not None and previous.role != "system" else ""
    statements = list(_statements(message, content, before, people)) if people.is_person(message) else []
    if not statements and is_trivial(content, names=people.known) and not (question and _answers(content, question)):
        return []
    parts = list(_parts(content))
    facts = [_semantic(message, content, statement, people) for statement in statements]
    speaker = people.speaker(message)
    if facts and not whole_turns and _covers(content, statements, people.known):
        asked = question if len(parts) == 1 and _is_short_answer(content) else None
        return _stand_for_turn(facts, parts, [_utterance(message, content, span, speaker, asked)[0] for span in parts])
    short = question is not None and len(parts) == 1 and _is_short_answer(content)
    candidates = [
        _episodic(message, content, span, part, speaker, people, question if short else None)
        for part, span in enumerate(parts)
    ]
    return candidates + facts


def _statements(message: SourceMessage, content: str, before: str, people: _People) -> Iterator[Statement]:
    if message.name is None and (found := find_self_name(content)):
        name, start, end = found
        yield Statement(f"The user's name is {name}", "User", "name", name, start, end, 0.95)
    yield from find_statements(content, speaker=people.speaker(message), before=before)


def _covers(content: str, statements: list[Statement], names: set[str]) -> bool:
    """Whether the message says nothing beside its statements, apart from fillers and calls by name."""
    pieces, position = [], 0
    for start, end in sorted((s.start, s.end) for s in statements if s.confidence > HEARSAY):
        if start > position:
            pieces.append(content[position:start])
        position = max(position, end)
    pieces.append(content[position:])
    if "?" in "".join(pieces):
        return False
    if len(statements) > 2 and (intro := _LIST_INTRO.match(pieces[0] + "\n")):
        pieces[0] = pieces[0][intro.end() :]
    called = {part.lower() for name in names for part in name.split()}
    for piece in pieces:
        for word in _WORDS.findall(_BULLETS.sub(" ", piece)):
            plain = word.replace("’", "'").lower()
            if not (_is_filler(plain, called) or plain in _LINKS):
                return False
    return not _NEWS.search(" ".join(pieces).replace("’", "'"))


def _stand_for_turn(facts: list[Candidate], parts: list[tuple[int, int]], utterances: list[str]) -> list[Candidate]:
    """The first fact in each part of the message stands for it."""
    standing = []
    open_parts = dict(enumerate(parts))
    for fact in facts:
        part = next((n for n, (_, end) in open_parts.items() if fact.grounding[0].start < end), None)
        if not fact.silent and part is not None:
            open_parts = {n: span for n, span in open_parts.items() if n > part}
            fact = replace(fact, turn=True, part=part, utterance=utterances[part])
        standing.append(fact)
    return standing


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
    text, times = _utterance(message, content, span, speaker, question)
    said = " ".join(content[span[0] : span[1]].split())
    return Candidate(
        text=text,
        kind="episodic",
        grounding=(Grounding(message.id, *span),),
        speaker=speaker,
        part=part,
        valid_at=_valid_at(times),
        entities=_with_speaker(speaker, find_entities(said, known=people.known)),
    )


def _utterance(
    message: SourceMessage, content: str, span: tuple[int, int], speaker: str, question: str | None
) -> tuple[str, list[TimeExpression]]:
    """A part of the message as an episodic memory has it, and the times in it."""
    said = " ".join(content[span[0] : span[1]].split())
    times = _times(said, message.said_at)
    asked = f' (asked: "{question}")' if question else ""
    return f"{speaker}: {annotate(said, times)}{asked}", times


_TIME_WORDS = tuple(
    _word_set("""
    ago back day hour minute week month year decade night tomorrow morning afternoon evening spring summer autumn fall
    winter christmas halloween valentine january february march april may june july august september october november
    december last next this past coming thanksgiving
    """)
)
_DIGIT = re.compile(r"\d")


def _times(text: str, said_at: datetime) -> list[TimeExpression]:
    """find_time_expressions, after a cheap look for any of the words that they have in them."""
    lower = text.lower()
    for word in _TIME_WORDS:
        if word in lower:
            return find_time_expressions(text, reference=said_at)
    return find_time_expressions(text, reference=said_at) if _DIGIT.search(text) else []


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
    valid_at, valid_until, told = None, None, said
    value, polarity = statement.value, statement.polarity
    if not statement.timeless:
        clause = " ".join(content[statement.start : statement.end].split())
        if statement.attribute == "date":
            clause = f"is on {value}"  # a date that was moved is ahead, whatever the tense
        times = _times(clause, message.said_at)
        span = _range(clause, message.said_at)
        valid_at, valid_until = span or _interval(times, clause)
        if span and polarity == "ended":
            polarity = "holds"  # it held then, and we know until when
        elif (
            statement.was
            and polarity == "ended"
            and len(times) == 1
            and valid_at
            and times[0].finish <= message.said_at
        ):
            polarity, valid_until = "holds", times[0].finish
        told = annotate(said, find_time_expressions(said, reference=message.said_at)) if times else said
        if times and value:
            value = value if statement.attribute == "date" else _without_time(value, message.said_at) or value
        if valid_at and len(times) == 1 and times[0].text.lower() not in said.lower():
            told = f"{said} ({describe(times[0])})"
    return Candidate(
        text=told,
        kind="semantic",
        grounding=(Grounding(message.id, statement.start, statement.end),),
        speaker=people.speaker(message),
        valid_at=valid_at,
        valid_until=valid_until,
        entities=_with_speaker(people.speaker(message), find_entities(said, known=people.known)),
        subject=statement.subject,
        attribute=statement.attribute,
        value=value,
        polarity=polarity,
        single=statement.single,
        corrects=statement.corrects,
        instead_of=statement.instead_of,
        silent=statement.silent,
        categories=tuple(filter(None, [_CATEGORIES.get(statement.attribute or "")])),
        confidence=statement.confidence,
    )


_FROM_TO = re.compile(r"\bfrom\s+(?:[A-Za-z]+\s+)?$|\bbetween\s+(?:[A-Za-z]+\s+)?$", re.IGNORECASE)


_RANGE = re.compile(
    r"\b(?:from|between)\s+(?P<begin>(?:[A-Z][a-z]{2,8}\s+)?\d{4})\s*(?:to|until|till|and|through|-|–)\s*(?P<end>(?:[A-Z][a-z]{2,8}\s+)?\d{4})\b"
)


def _range(clause: str, said_at: datetime) -> tuple[datetime, datetime] | None:
    """ "from 2010 to March 2015": its beginning, and the beginning of its end."""
    m = _RANGE.search(clause)
    ends = [find_time_expressions(f"in {m[side]}", reference=said_at) for side in ("begin", "end")] if m else []
    if len(ends) == 2 and all(ends) and ends[0][0].begin < ends[1][0].begin:
        return ends[0][0].begin, ends[1][0].begin
    return None


def _interval(times: list[TimeExpression], clause: str) -> tuple[datetime | None, datetime | None]:
    """When it became true and, for "from 2010 to 2015" and "until May", when it ended."""
    if len(times) == 2 and re.fullmatch(
        r"\W*(?:to|until|till|and|through|-|–)?\W*", clause[times[0].end : times[1].start]
    ):
        return times[0].begin, times[1].finish if times[1].finish > times[0].begin else None
    if len(times) == 1 and re.match(r"(?:until|till)\b", times[0].text, re.IGNORECASE):
        return None, times[0].begin
    return _valid_at(times), None


def _without_time(value: str, said_at: datetime) -> str:
    """ "Oslo last March" -> "Oslo": when it happened is valid_at, not part of the value."""
    if m := _RANGE.search(value):
        return value[: m.start()].rstrip(" ,")
    times = find_time_expressions(value, reference=said_at)
    if not times:
        return value
    if times[0].start == 0:
        return make_absolute(value, reference=said_at)
    kept = value[: times[0].start].rstrip(" ,") + value[times[-1].end :] if len(times) == 1 else value[: times[0].start]
    kept = re.sub(r"(?:^|\s+)(?:back|in|on|since|for|early|late|earlier|later|from|until|at)$", "", kept.strip(" ,"))
    return kept or value
