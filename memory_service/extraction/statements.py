"""Statements about people, found by patterns: who, which attribute, what value. Precision over recall.

A statement is taken from the beginning of a clause only ("I live in ...", "my dog's name is ..."), never from
questions, conditions, wishes, reported speech, quotations or jokes. What points outside of its sentence
("I love it") is dropped. The patterns themselves are in statement_patterns.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from .statement_patterns import (
    BE_RULES,
    BOUNDARY,
    DEFINITE_OK,
    ELLIPSIS,
    HAVE_RULES,
    HYPOTHETICAL,
    JOKE,
    LIST,
    MY_FAVOURITE,
    MY_KIN,
    MY_KIN_NAME,
    MY_PLAIN,
    NAME_INTRO,
    NATIONALITIES,
    NEXT,
    NOT_PEOPLE,
    NOT_SELF_NAMES,
    PETS,
    POINTS_OUTSIDE,
    QUESTION_START,
    REPORTED,
    SENTENCE,
    START,
    SURE_INTRO,
    TAIL,
    THINGS,
    THIRD,
    VAGUE_PLACE,
    VERB_RULES,
    WAS_RULES,
    WEAK_LIKES,
    Rule,
)

MAX_WORDS = 24  # a statement is a sentence to be read at a glance
_MAX_VALUE_WORDS = 12
_MAX_SENTENCE_CHARS = 600  # longer is a paste or an attack: reading a sentence takes the square of its length


@dataclass(frozen=True, slots=True)
class Statement:
    """text: "Alex lives in Oslo". [start, end): the clause in the text that was read."""

    text: str
    subject: str
    attribute: str
    value: str
    start: int
    end: int
    confidence: float


class _Clause(NamedTuple):
    subject: str  # "i'm", "i've", "i", "my": as matched, lower case
    body: str  # what follows it, to the end of the sentence
    start: int
    body_start: int


def find_statements(text: str, *, speaker: str) -> list[Statement]:
    """What the speaker says about themself, and about named others, in the order of the text.

    The first person becomes `speaker`. At most one statement a clause; [] where the message is a joke.
    """
    plain = text.replace("’", "'")
    if JOKE.search(plain):
        return []
    found, num_quotes, read = [], 0, 0
    for sentence in SENTENCE.finditer(plain):
        num_quotes += plain.count('"', read, sentence.start())
        read = sentence.start()
        asks = "?" in sentence["end"]
        if not asks and num_quotes % 2 == 0 and len(sentence[0]) <= _MAX_SENTENCE_CHARS:
            found += _sentence_statements(plain, sentence, speaker)
    return found


def _sentence_statements(plain: str, sentence: re.Match[str], speaker: str) -> list[Statement]:
    start, end = sentence.start(), sentence.start("end")
    if QUESTION_START.match(plain, start, end):
        return []
    found: list[Statement] = []
    for clause in _clauses(plain, start, end):
        before = plain[start : clause.start]
        if HYPOTHETICAL.search(before) or REPORTED.search(before) or before.count('"') % 2:
            break
        if found and clause.start < found[-1].end:
            continue
        found += _clause_statements(plain, clause, end, speaker)
    if not found:
        third = _third_statement(plain, start, end)
        found = [third] if third else []
    return [statement for statement in found if len(statement.text.split()) <= MAX_WORDS]


def _clause_statements(plain: str, clause: _Clause, end: int, speaker: str) -> Iterator[Statement]:
    """The clause's statement, and those that share its subject: "I'm a vegan and allergic to nuts"."""
    while True:
        statement = _my_statement(clause, speaker) if clause.subject == "my" else _i_statement(clause, speaker)
        if statement is None:
            return
        yield statement
        more = ELLIPSIS.match(plain, statement.end, end)
        if clause.subject == "my" or more is None or (more["be"] and clause.subject not in _BE_SUBJECTS):
            return
        implied = "i'm" if more["be"] else "i have" if more["have"] else "i"
        clause = _Clause(implied, plain[more.end() : end], more.end(), more.end())


def _clauses(plain: str, start: int, end: int) -> Iterator[_Clause]:
    """The clauses of one sentence that begin with the first person, in order."""
    m = START.match(plain, start, end) or NEXT.search(plain, start, end)
    while m is not None:
        body_start = m.start("keep") if m["keep"] else m.end()
        yield _Clause(" ".join(m["subject"].lower().split()), plain[body_start:end], m.start("subject"), body_start)
        m = NEXT.search(plain, m.end(), end)


_BE_SUBJECTS = ("i'm", "i am", "im")


def _rules_for(subject: str) -> tuple[Rule, ...]:
    if subject in _BE_SUBJECTS:
        return BE_RULES
    if subject in ("i've", "i have", "i've got", "i have got"):
        return HAVE_RULES
    return WAS_RULES if subject == "i was" else VERB_RULES


_KEEP = re.compile(r"(?P<keep>still|always|usually|often|mostly|mainly|now)\s+", re.IGNORECASE)
_THIRD_FORMS = {"have": "has", "study": "studies", "teach": "teaches"}


def _third_person(verb: str) -> str:
    """ "live" -> "lives", "work at" -> "works at"."""
    first, _, rest = verb.lower().partition(" ")
    return f"{_THIRD_FORMS.get(first, first + 's')} {rest}".strip()


def _i_statement(clause: _Clause, speaker: str) -> Statement | None:
    keep = _KEEP.match(clause.body)
    body = clause.body[keep.end() :] if keep else clause.body
    offset = clause.body_start + (keep.end() if keep else 0)
    for rule in _rules_for(clause.subject):
        if m := rule.pattern.match(body):
            value = _value(body[m.end() :], rule.check)
            if value is None:
                return None
            forms = _forms(m)
            predicate = re.sub(r"\s+", " ", rule.template.format(value=value, **forms)).strip()
            if keep:
                predicate = _with_keep(predicate, keep["keep"].lower())
            end = offset + m.end() + len(value)
            attribute = rule.attribute.format(**forms).lower()
            return _statement(speaker, predicate, attribute, value, clause.start, end, rule.confidence)
    return None


def _with_keep(predicate: str, word: str) -> str:
    """ "lives in Oslo" -> "still lives in Oslo", but "is married" -> "is still married"."""
    first, _, rest = predicate.partition(" ")
    return f"{first} {word} {rest}" if first in ("is", "has", "was", "does") else f"{word} {predicate}"


def _forms(m: re.Match[str]) -> dict[str, str]:
    """What a rule's templates can name: the match as said, its last word, its verb in the third person."""
    matched = re.sub(r"\s+", " ", m[0])
    words, verb = matched.split(), m.groupdict().get("verb") or ""
    always = ["always"] if words and words[0].lower() == "always" else []
    first, rest = (words[len(always)], words[len(always) + 1 :]) if words else ("", [])
    return {
        "match": matched,
        "prep": words[-1] if words else "",
        "past": re.sub(r"^study\b", "studies", matched, flags=re.IGNORECASE),
        "third": " ".join([*always, _third_person(first), *rest, ""]),
        "verb": verb,
        "verb3": _third_person(verb) if verb else "",
    }


def _statement(
    speaker: str, predicate: str, attribute: str, value: str, start: int, end: int, confidence: float
) -> Statement:
    text = _third_person_pronouns(f"{speaker} {predicate}", speaker)
    return Statement(text, speaker, attribute, _third_person_pronouns(value, speaker), start, end, confidence)


def _third_person_pronouns(text: str, speaker: str) -> str:
    text = re.sub(r"\s+of my own\b", "", text, flags=re.IGNORECASE)
    text = re.sub(r"\bmy own\b", "their own", text, flags=re.IGNORECASE)
    text = re.sub(r"\b[Mm]y\b", lambda _: f"{speaker}'s", text)
    text = re.sub(r"\b[Mm]ine\b", lambda _: f"{speaker}'s", text)
    return re.sub(r"\b[Mm]e\b", lambda _: speaker, text)


def _value(rest: str, check: str) -> str | None:
    """The value that `rest` begins with, as said; None where it is too long, empty or points elsewhere."""
    if check in ("event", "short", "state") and not rest.strip(" .!"):
        return ""
    boundary = BOUNDARY.search(rest)
    value = rest[: boundary.start()] if boundary else rest
    if boundary and boundary[0].strip().lower() in ("i", "i'm", "i've", "we", "it", "he", "she", "they"):
        return None  # a relative clause without its pronoun: "the house I bought"
    if "," in value and not LIST.fullmatch(value.rstrip(" ,.")):
        value = value.split(",", 1)[0]
    value = TAIL.sub("", value).strip().rstrip(" ,.'-")
    if len(value.split()) > _MAX_VALUE_WORDS or not value:
        return value if not value and check == "event" else "" if not value and check == "habit" else None
    return value if _CHECKS[check](value) else None


def _is_noun(value: str) -> bool:
    return not POINTS_OUTSIDE.search(value)


def _is_liking(value: str) -> bool:
    """Something one can like in general; "the painting" and "to see it" belong to their moment."""
    if POINTS_OUTSIDE.search(value) or WEAK_LIKES.match(value):
        return False
    return not re.match(r"the\b", value, re.IGNORECASE) or bool(DEFINITE_OK.match(value))


def _is_activity(value: str) -> bool:
    return _is_liking(value) or (not POINTS_OUTSIDE.search(value) and bool(DEFINITE_OK.match(value)))


def _is_place(value: str) -> bool:
    return not POINTS_OUTSIDE.search(value) and not VAGUE_PLACE.match(value)


def _is_having(value: str) -> bool:
    return _is_noun(value) and not re.search(
        r"\b(?:to do|left|today|tomorrow|tonight|meeting|appointment|in mind|on the way|coming)\b", value
    )


def _is_acquired(value: str) -> bool:
    return _is_noun(value) and bool(re.search(rf"\b(?:{PETS}|{THINGS}|land)\b", value, re.IGNORECASE))


def _is_state(value: str) -> bool:
    return _is_noun(value) and not re.search(
        r"^(?:single|engaged|separated|retired) (?:handed|most|in|on|and ready)\b|^(?:trans|gay) \w", value
    )


def _is_occupation(value: str) -> bool:
    return _is_noun(value) and not re.search(
        r"^(?:bit|little|huge|big|terrible|bad|good|great|better|quick|slow|"
        r"picky|lucky|real|total)\b",
        value,
    )


def _is_lasting(value: str) -> bool:
    """ "playing the violin for ten years", but not "playing for ten years"."""
    return (
        _is_noun(value)
        and not re.match(r"\w+(?: \w+ly)? (?:for|since)\b", value)
        and bool(re.search(r"\b(?:for|since)\b", value))
    )


def _is_short(value: str) -> bool:
    return len(value.split()) <= 4 and _is_noun(value)


def _is_age(value: str) -> bool:
    return bool(re.match(r"\d{1,3} years? old", value)) and len(value.split()) <= 4


_CHECKS = {
    "any": _is_noun,
    "noun": _is_noun,
    "liking": _is_liking,
    "activity": _is_activity,
    "place": _is_place,
    "having": _is_having,
    "acquired": _is_acquired,
    "state": _is_state,
    "occupation": _is_occupation,
    "short": _is_short,
    "age": _is_age,
    "diet": _is_short,
    "lasting": _is_lasting,
    "event": _is_noun,
    "habit": _is_noun,
}


def _my_statement(clause: _Clause, speaker: str) -> Statement | None:
    body = clause.body
    if m := MY_FAVOURITE.match(body):
        return _my_value(clause, m, speaker, f"favourite {m['what'].lower()}", 0.9, "noun")
    if m := MY_PLAIN.match(body):
        return _my_value(clause, m, speaker, m["what"].lower(), 0.85, "noun")
    if m := MY_KIN_NAME.match(body):
        return _my_value(clause, m, speaker, m["kin"].lower(), 0.95, "short")
    return _my_kin(clause, speaker)


def _my_value(
    clause: _Clause, m: re.Match[str], speaker: str, attribute: str, confidence: float, check: str
) -> Statement | None:
    value = _value(clause.body[m.end() :], check)
    if not value or re.match(
        r"(?:not|when|very|so|really|always|the best|to be honest|going|coming|"
        r"over|done|great|amazing|awesome|safe|full|killing)\b",
        value,
        re.IGNORECASE,
    ):
        return None
    what = re.sub(r"\s+", " ", m[0]).strip()
    what = re.sub(r"'s$", " is", what)
    text = _third_person_pronouns(f"{speaker}'s {what} {value}", speaker)
    if attribute == "name" and value.lower() == speaker.lower():
        return None  # "Alex's name is Alex"
    return Statement(
        text,
        speaker,
        attribute,
        _third_person_pronouns(value, speaker),
        clause.start,
        clause.body_start + m.end() + len(value),
        confidence,
    )


def _my_kin(clause: _Clause, speaker: str) -> Statement | None:
    m = MY_KIN.match(clause.body)
    if m is None:
        return None
    value = _value(clause.body[m.end() :], "event")
    if value is None or (not value and m["verb"] not in ("died", "passed away")):
        return None
    who = f"{speaker}'s {m['kin']}{(m['name'] or '').rstrip(',').replace(',', '')}"
    verb = " ".join(m["verb"].split())
    end = clause.body_start + m.end() + len(value)
    text = _third_person_pronouns(f"{who} {verb} {value}".strip(), speaker)
    return Statement(text, who, verb, _third_person_pronouns(value, speaker), clause.start, end, 0.85)


def _third_statement(plain: str, start: int, end: int) -> Statement | None:
    lead = re.compile(r"\s*(?:(?:And|But|So|Yes|Yeah|Well|Also|Oh),?\s+)?").match(plain, start, end)
    begin = lead.end() if lead else start
    m = THIRD.match(plain, begin, end)
    if m is None or m["name"].split()[0].lower() in NOT_PEOPLE:
        return None
    value = _value(plain[m.end() : end], "place")
    if not value:
        return None
    verb = m["verb"].strip()
    return Statement(f"{m[0]}{value}", m["name"], verb, value, begin, m.end() + len(value), 0.65)


def find_self_name(text: str) -> tuple[str, int, int] | None:
    """The name that the speaker gives as their own ("My name is Alex", "I'm Alex.") and where; else None."""
    plain = text.replace("’", "'")
    if JOKE.search(plain):
        return None
    for m in NAME_INTRO.finditer(plain):
        before = re.split(r"[.!?\n]", plain[max(0, m.start() - 200) : m.start()])[-1]
        if HYPOTHETICAL.search(before) or REPORTED.search(before) or '"' in before:
            continue
        sure = bool(SURE_INTRO.match(m[0]))
        if m["name"].split()[0].lower() in NOT_SELF_NAMES or (not sure and re.fullmatch(NATIONALITIES, m["name"])):
            continue
        return m["name"], m.start(), m.end()
    return None
