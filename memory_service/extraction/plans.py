"""Plans and events: what is to come, what happened, what was called off, and what comes again and again.

A plan's value is in its base form ("go to Rome"), so that the event that fulfils it has the same words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from .clauses import Clause
from .statement import Statement, state
from .types import Polarity
from .values import value_of
from .verbs import VERBS
from .vocabulary import COUNT_WORD, word_set

_WEEKDAY = r"(?:mon|tues|wednes|thurs|fri|satur|sun)day"
RECURRENCE = re.compile(
    rf"\b(?:every|each)\s+(?:other\s+|second\s+|single\s+|\d+\s+)?(?:day|night|morning|evening|afternoon|"
    rf"week(?:end|day)?|month|"
    rf"year|spring|summer|autumn|fall|winter|{_WEEKDAY}|mon|tue|wed|thu|fri|sat|sun|january|february|"
    rf"march|april|june|july|"
    rf"august|september|october|november|december|christmas|thanksgiving)s?(?:\s+(?:morning|evening|"
    rf"night|afternoon))?\b"
    rf"|\bon\s+{_WEEKDAY}s\b(?:\s+and\s+{_WEEKDAY}s\b)?|\b{_WEEKDAY}\s+(?:mornings|evenings|nights|afternoons)\b"
    r"|\b(?:once|twice|three times|four times|five times|\d+ times|a few times|several times)\s+(?:a|"
    r"per)\s+(?:day|week|month|year)\b"
    rf"|\bevery\s+(?:few|couple\s+of|{COUNT_WORD}|\d+)\s+(?:days|nights|weeks|months|years)\b"
    rf"|(?<!\w)(?:an?|a\s+few|several|some|{COUNT_WORD}|\d+(?:[.,]\d+)?(?:\s?(?:km|k|m|mg|ml))?)\s+(?!(?:day|"
    rf"bit|lot)\b)(?:[\w-]+\s+){{1,4}}?(?:a|per)\s+"
    r"(?:day|night|week|month)\b"
    r"|\bon\s+(?:weekends|weekdays)\b|\bin the (?:mornings|evenings)\b|\b(?:weekly|daily|monthly|yearly|"
    r"annually|biweekly|fortnightly)\b",
    re.IGNORECASE,
)
_TIME_AHEAD = re.compile(
    rf"\b(?:tomorrow|tonight|next\s+\w+|this\s+(?:{_WEEKDAY}|week|weekend|month|year|spring|summer|"
    rf"autumn|fall|winter|coming)|"
    rf"(?:on|in|by|at the end of|early|late)\s+(?:{_WEEKDAY}|january|february|march|april|may|june|july|"
    rf"august|september|october|"
    r"november|december|the\s+(?:spring|summer|autumn|fall|winter)|\d{4}|(?:a|two|three|four|five|six|"
    r"\d+)\s+(?:days?|weeks?|months?|years?))|"
    r"on\s+(?:the\s+)?\d{1,2}\w*|(?:soon|later this)\b)",
    re.IGNORECASE,
)
# Verbs of which one can say "I will" and mean a plan, not a promise or a guess.
_DEEDS = word_set("""
    visit travel fly move relocate run climb hike attend start begin marry buy adopt sell join study learn launch
    publish host perform renovate build graduate retire train enrol enroll take get go rent ride cycle tour
    explore book sign open register volunteer teach write quit leave have paint celebrate see head drive swim
    """)
# Plans whatever follows: nobody says them lightly.
_RESOLVES = word_set("""
    marry move relocate adopt retire study graduate sell quit train enrol enroll renovate become
    """)
_EVENTS = word_set("""
    visit travel fly run climb hike attend finish complete win publish launch host perform tour explore renovate
    cycle build write ride swim drive go head see paint pass celebrate record
    """)
_WEAK = re.compile(
    r"\s*(?:to\s+)?(?:be|do|have to|get to|see (?:you|how|if|what|it|that)|go (?:with|on\b|"
    r"back to (?:bed|sleep)|for it|now|ahead|get|see\b(?! the))|"
    r"try|check|think|look|let|ask|tell|give|keep|say|talk|know|make sure|need|hear|sound|remember|"
    r"forget|take (?:care|a look|that|it|your)|get (?:back|it|going|some|that|there|ready|over)|"
    r"have (?:a look|to\b|fun|it)|help|leave you|start (?:by|with|crying|thinking)|write (?:back|it|"
    r"you)|miss|call|continue|admit|agree|"
    r"see (?:him|her|them|you)|head (?:out|off)(?! to)|run (?:it|out|into|by|along|now)|show|share|"
    r"go (?:and )?(?:check|look|find|ask)|pass\b(?! (?:the|my))|come)\b",
    re.IGNORECASE,
)
_GOING = re.compile(
    (
        r"\s*(?:(?:back|out|over|up|down|away|off|camping|hiking|skiing|surfing|fishing|sailing|diving|"
        r"climbing|dancing|shopping|swimming|running|on)\b|to\b|for\b|abroad)"
    ),
    re.IGNORECASE,
)
_TELLING = re.compile(
    r"(?-i:\b(?!I\b)[A-Z][a-z])|\d|\b(?:marathon|race|concert|wedding|conference|festival|exam|test|"
    r"degree|museum|theat(?:er|re)|"
    r"hospital|dentist|doctor|interview|course|class|workshop|funeral|party|trip|tour|holiday|vacation|"
    r"show|match|game|retreat|"
    r"half-marathon|triathlon|surgery|operation|reunion|exhibition|gig|competition|tournament|"
    r"certificate|licen[cs]e|book|novel|thesis|beach|mountains?|"
    r"house|flat|apartment|shop|business|zoo|opera|appointment|ceremony|garden|kitchen|lake|island|park|"
    r"camping|hiking|skiing|surfing|fishing|sailing|diving|climbing|abroad|university|college|school)\b",
    re.IGNORECASE,
)
_CONDITION = re.compile(r"\b(?:if|unless|provided|depending|assuming|maybe|perhaps|should I|whenever)\b", re.IGNORECASE)
_AFTER_ALL = re.compile(r"\b(?:after all|any ?more|any longer|this year|anyway|in the end)\b", re.IGNORECASE)


def read_plan(clause: Clause) -> list[Statement]:
    """Plans, events and recurring events in the clause; [] where there is none."""
    if clause.form == "used":
        return []
    recurring = RECURRENCE.search(clause.rest[:160]) if may_recur(clause.rest) else None
    if recurring:
        return list(_recurring(clause, recurring))
    found = _read_once(clause)
    return [] if found and _CONDITION.search(clause.rest[:200]) else found


def may_recur(rest: str) -> bool:
    """A cheap look before the long pattern."""
    return any(word in rest for word in _RECURRING_WORDS)


_RECURRING_WORDS = (
    "very",
    "ach ",
    "days",
    "weekend",
    "nings",
    "nights",
    "noons",
    " a ",
    " per ",
    "kly",
    "ily",
    "hly",
    "rly",
    "ally",
)


def _read_once(clause: Clause) -> list[Statement]:
    if clause.form == "future":
        return list(_future(clause))
    if clause.lemma in _INTENDING:
        return list(_intending(clause))
    if clause.form == "ing":
        return list(_under_way(clause))
    if clause.form in ("past", "perfect") and not clause.stand:
        return list(_happened(clause))
    if clause.lemma == "have" and clause.form == "present" and not clause.denied:
        return list(_arranged(clause))
    if clause.lemma == "be" and clause.form == "present":
        return list(_being(clause))
    return []


def _plan(
    clause: Clause,
    lemma: str,
    begin: int,
    *,
    polarity: Polarity = "holds",
    check: str = "free",
    confidence: float = 0.8,
) -> Iterator[Statement]:
    """A plan to do what stands behind `begin` of the clause's rest, with `lemma` for its verb."""
    value = value_of(clause.rest[begin:], check)
    if value is None and clause.rest[begin:].strip(" .!"):
        return
    value = value or ""
    if _outside(value) or not (lemma or value):
        return
    upto = begin + len(value) if value else len(clause.rest[:begin].rstrip())
    yield state(clause, "plans", _base(f"{lemma} {value}"), upto, polarity=polarity, confidence=confidence)


def _base(words: str) -> str:
    words = re.sub(r"\s+", " ", words).strip()
    return re.sub(r"^(?:to|on)\s+", "", words, flags=re.IGNORECASE)


def _outside(value: str) -> bool:
    return bool(
        re.search(
            (
                r"\b(?:you|your|it|that|this(?! (?:year|week|weekend|month|summer|winter|spring|autumn|fall|"
                r"\w+day))|those|these|him|them|one|ones|something|anything|things?|stuff)\b"
            ),
            value,
            re.IGNORECASE,
        )
    )


def _future(clause: Clause) -> Iterator[Statement]:
    lemma, rest = clause.lemma, clause.rest
    polarity: Polarity = "ended" if clause.denied else "holds"
    if _WEAK.match(f"{lemma} {rest}") and not re.match(
        r"be\s+(?:moving|starting|going|visiting|travel+ing|getting|attending|running)\b", f"{lemma}{rest}"
    ):
        return
    if lemma == "be":
        m = re.match(r"\s*(?P<verb>\w+ing)\b", rest)
        verb = VERBS.get(m["verb"].lower()) if m else None
        if m and verb:
            yield from _plan(clause, verb.lemma, m.end(), polarity=polarity)
        return
    sure = clause.verb and (lemma in _DEEDS and (_TIME_AHEAD.search(rest[:160]) or _TELLING.search(rest[:80])))
    if sure or lemma in _RESOLVES or (clause.denied and _AFTER_ALL.search(rest[:160])):
        yield from _plan(clause, lemma, 0, polarity=polarity, confidence=0.75)


_INTENDING = {
    "plan": re.compile(
        r"\s*(?:on\s+|to\s+|for\s+|(?=an?\s+(?:trip|holiday|vacation|wedding|party|move|visit)))", re.IGNORECASE
    ),
    "hope": re.compile(r"\s*to\s+", re.IGNORECASE),
    "intend": re.compile(r"\s*(?:to|on)\s+", re.IGNORECASE),
    "want": re.compile(
        (
            r"\s*to\s+(?=(?:become|be an?\b|move to|open|learn|adopt|retire|travel|visit|go to (?-i:[A-Z])|"
            r"study|start|write|buy|run|climb|build|finish|quit|get married)\b)"
        ),
        re.IGNORECASE,
    ),
    "decide": re.compile(r"\s*(?P<not>not\s+)?to\s+", re.IGNORECASE),
    "book": re.compile(r"\s*", re.IGNORECASE),
    "reserve": re.compile(r"\s*", re.IGNORECASE),
    "schedule": re.compile(r"\s*", re.IGNORECASE),
    "sign": re.compile(r"\s*up\s+(?:for|to)\s+", re.IGNORECASE),
    "register": re.compile(r"\s*(?:for|to)\s+", re.IGNORECASE),
    "enter": re.compile(r"\s*", re.IGNORECASE),
    "cancel": re.compile(r"\s*", re.IGNORECASE),
    "call": re.compile(r"\s*off\s+", re.IGNORECASE),
    "skip": re.compile(r"\s*(?=(?:the|my|our)\s)", re.IGNORECASE),
    "change": re.compile(r"\s*(?:my|our|his|her|their)\s+minds?\s+about\s+", re.IGNORECASE),
    "postpone": re.compile(r"\s*", re.IGNORECASE),
    "back": re.compile(r"\s*out\s+of\s+", re.IGNORECASE),
}
_OFF = frozenset({"cancel", "call", "skip", "change", "back"})


def _intending(clause: Clause) -> Iterator[Statement]:
    """ "plan to", "want to", "booked", "signed up for", "decided not to", "cancelled"."""
    m = _INTENDING[clause.lemma].match(clause.rest)
    if m is None or (
        clause.lemma not in _OFF and clause.form == "past" and clause.lemma in ("plan", "hope", "want", "intend")
    ):
        return
    if clause.lemma == "hope" and clause.form != "ing" and not clause.who.speaker:
        return
    rest = clause.rest[m.end() :]
    if clause.lemma in _OFF:
        if clause.form not in ("past", "perfect") or clause.denied:
            return
        yield from _called_off(clause, m.end())
        return
    polarity: Polarity = "ended" if clause.denied or m.groupdict().get("not") else "holds"
    if clause.lemma in ("book", "reserve", "schedule"):
        if clause.form not in ("past", "perfect") or clause.denied:
            return
        what = re.match(
            r"(?:us\s+|me\s+|myself\s+)?(?:an?|the|our|my|two|three|\d+|flights?|tickets?)\b", rest, re.IGNORECASE
        )
        if what:
            yield from _plan(clause, "", m.end(), polarity=polarity, confidence=0.85)
        return
    inner = re.match(r"([\w-]+)", rest)
    verb = VERBS.get(inner[1].lower()) if inner else None
    if clause.lemma in ("sign", "register", "enter"):
        if clause.form in ("past", "perfect") and not clause.denied:
            yield from _plan(clause, "", m.end(), confidence=0.85)
        return
    if _WEAK.match(rest) and not re.match(r"be an?\b", rest):
        return
    if inner and verb and {"ing", "base"} & verb.forms:
        yield from _plan(clause, verb.lemma, m.end() + inner.end(), polarity=polarity, confidence=0.85)
    elif (inner and clause.lemma != "want") or re.match(r"(?:be an?|open)\b", rest):
        yield from _plan(clause, "", m.end(), polarity=polarity, confidence=0.8)


def _called_off(clause: Clause, begin: int) -> Iterator[Statement]:
    value = value_of(clause.rest[begin:], "free")
    if value and not _outside(value):
        upto = begin + len(value)
        what = re.sub(r"^(?:the|my|our|a|an)\s+", "", value, flags=re.IGNORECASE)
        yield state(clause, "plans", what, upto, polarity="ended", confidence=0.9)
        yield state(clause, "does regularly", what, upto, polarity="ended", silent=True)


_ROUTINE = re.compile(
    r"\s*(?:to\s+(?:be|bed|sleep|work|the\s+(?:gym|store|shop))\b(?!.*\b(?:tomorrow|next)\b)|well|on\s+"
    r"(?:here|now|and)|"
    r"through|back\s+and)"
)


def _under_way(clause: Clause) -> Iterator[Statement]:
    """ "We're going to Rome in May", "I'm visiting Anna tomorrow"."""
    rest, lemma = clause.rest, clause.lemma
    ahead = _TIME_AHEAD.search(rest[:160])
    polarity: Polarity = "ended" if clause.denied else "holds"
    after_all = clause.denied and bool(_AFTER_ALL.search(rest[:160]))
    if clause.denied and not (ahead or after_all or lemma in ("move", "go")):
        return
    if lemma == "get" and re.match(r"\s*(?:married|divorced|a\s+(?:dog|cat|puppy|kitten|new)\b)", rest):
        yield from _plan(clause, lemma, 0, polarity=polarity)
    elif lemma in ("go", "move", "fly", "travel", "head", "relocate", "drive"):
        if re.match(r"\s*(?:\w+\s+)?(?:to|abroad|on|back|for|camping|hiking|skiing)\b", rest) and (
            (ahead or _TELLING.search(rest[:80])) and not _ROUTINE.match(rest)
        ):
            yield from _plan(clause, lemma, 0, polarity=polarity, confidence=0.85)
    elif (
        (lemma == "come" and ahead)
        or (lemma == "have" and re.match(r"\s*(?:a\s+baby|twins|a\s+party|surgery|an\s+operation)\b", rest))
        or (
            (((ahead or after_all) and lemma in _DEEDS) or lemma in ("buy", "sell", "adopt", "renovate", "marry"))
            and not _WEAK.match(f"{lemma} {rest}")
        )
    ):
        yield from _plan(clause, lemma, 0, polarity=polarity)


def _happened(clause: Clause) -> Iterator[Statement]:
    """Events: "went to Rome", "ran the marathon"; and what did not come to be: "didn't get to run"."""
    lemma, rest = clause.lemma, clause.rest
    if clause.lemma == "be":
        yield from _was(clause)
        return
    if clause.denied:
        yield from _failed(clause)
        return
    if lemma not in _EVENTS or _WEAK.match(f"{lemma} {rest}") or (lemma == "go" and not _GOING.match(rest)):
        if lemma == "make" and (m := re.match(r"\s*it\s+to\s+", rest)):
            yield from _did(clause, "go", m.end() - 3)
        return
    if lemma in ("go", "head", "see", "drive", "pass", "celebrate", "paint", "write", "swim") and not _TELLING.search(
        rest[:80]
    ):
        return
    yield from _did(clause, lemma, 0)


def _did(clause: Clause, lemma: str, begin: int) -> Iterator[Statement]:
    value = value_of(clause.rest[begin:], "free")
    if not value or _outside(value) or re.match(r"\s*(?:out|through|away|over|into|off)\b", value):
        return
    upto = begin + len(value)
    what = _base(f"{lemma} {value}")
    yield state(clause, "did", what, upto, polarity="holds", confidence=0.75)
    yield state(clause, "plans", what, upto, polarity="ended", silent=True)


def _failed(clause: Clause) -> Iterator[Statement]:
    """ "didn't go to Rome after all", "never made it to the concert", "didn't get to run"."""
    m = (
        re.match(r"\s*(?:to\s+|it\s+to\s+|around\s+to\s+|the\s+chance\s+to\s+)", clause.rest)
        if clause.lemma in ("get", "make", "end", "manage", "have")
        else None
    )
    begin = m.end() if m else 0
    if (
        m is None
        and clause.lemma not in _EVENTS
        and clause.lemma not in ("move", "adopt", "buy", "marry", "attend", "take")
    ):
        return
    inner = re.match(r"([\w-]+)", clause.rest[begin:])
    verb = VERBS.get(inner[1].lower()) if inner and m and "it" not in m[0] else None
    if m and "it" in m[0]:
        begin = m.end() - 3  # "made it to the concert" is going to it
    lemma = verb.lemma if verb else "go" if m else clause.lemma
    begin += inner.end() if verb and inner else 0
    value = value_of(clause.rest[begin:], "free") or ""
    if _outside(value) or (not m and not value):
        return
    upto = begin + len(value) if value else len(clause.rest[:begin].rstrip())
    yield state(clause, "plans", _base(f"{lemma} {value}"), upto, polarity="ended", confidence=0.8)


def _arranged(clause: Clause) -> Iterator[Statement]:
    """ "I have a dentist appointment on Tuesday", "we've got tickets for the concert"."""
    m = re.match(
        r"\s*(?=tickets\s+(?:for|to)\b|(?:an?|two|three|my|our)\s?(?:[\w'-]+\s+){0,4}?(?:appointment|"
        r"interview|exam|test|meeting|trip|flight|surgery|operation|"
        r"concert|wedding|race|date|party|presentation|deadline|reservation|vacation|holiday|game|match|"
        r"recital|tickets?|check-up|reunion)\b)",
        clause.rest,
        re.IGNORECASE,
    )
    if m and (
        _TIME_AHEAD.search(clause.rest[:160])
        or "ticket" in clause.rest
        or re.search(r"\b(?:planned|booked|coming up)\b", clause.rest[:100])
    ):
        yield from _plan(clause, "", m.end(), confidence=0.85)


def _being(clause: Clause) -> Iterator[Statement]:
    """ "I'm excited for / looking forward to the trip": only "about to", "due to", "scheduled to", "off to"."""
    m = re.match(
        (
            r"\s*(?:now\s+|still\s+)?(?:due to|scheduled to|supposed to|set to|expected to|off to|"
            r"signed up (?:for|to)|registered for|booked (?:on|for|to)|expecting)\s+"
        ),
        clause.rest,
        re.IGNORECASE,
    )
    if m is None or re.match(r"be\b", clause.rest[m.end() :]):
        return
    polarity: Polarity = "ended" if clause.denied else "holds"
    lemma = "go to" if "off to" in m[0] else "have" if "expecting" in m[0] else ""
    if "expecting" in m[0] and not re.match(r"(?:a\s+(?:baby|boy|girl)|twins|our|my)\b", clause.rest[m.end() :]):
        return
    yield from _plan(clause, lemma, m.end(), polarity=polarity, confidence=0.8)


def _was(clause: Clause) -> Iterator[Statement]:
    """ "I've been to Rome"."""
    m = re.match(r"\s*to\s+(?=(?:the\s+)?(?-i:[A-Z]))", clause.rest, re.IGNORECASE)
    if m and clause.form == "perfect":
        value = value_of(clause.rest[m.end() :], "place")
        if value:
            polarity: Polarity = "never" if clause.denied else "holds"
            told = f"been {clause.rest[: m.end() + len(value)].strip()}"
            yield state(
                clause,
                "did",
                f"go to {value.strip()}",
                m.end() + len(value),
                polarity=polarity,
                confidence=0.75,
                told=told,
            )


def _recurring(clause: Clause, when: re.Match[str]) -> Iterator[Statement]:
    """ "I have yoga every Tuesday", "we play cards on Fridays": the recurrence belongs to the value."""
    if clause.form not in ("present", "ing", "future") or clause.lemma in (
        "be",
        "love",
        "like",
        "hate",
        "enjoy",
        "feel",
        "live",
        "smoke",  # a state, however much
        "want",
        "need",
        "know",
    ):
        return
    before = clause.rest[: when.start()]
    value = value_of(clause.rest[: when.end()], "free")
    if (
        value is None
        or _outside(value)
        or len(value.rstrip()) < len(clause.rest[: when.end()].rstrip()) - 1
        or re.search(r"[,;:]", before)
    ):
        return
    core = (
        re.sub(r"^\s*(?:an?|the|my|our)\s+", "", value)
        if clause.lemma in ("have", "attend", "get")
        else f"{clause.lemma} {value.strip()}"
    )
    if clause.lemma == "have" and re.match(r"\s*(?:to|a lot|so much|been|fun)\b", value):
        return
    if _NOW.match(clause.rest, when.end()) or clause.keep == "now":  # "every Sunday now": whenever it was before
        activity = re.sub(r"\s+on$", "", core.replace(when[0], "").strip())
        if activity and not clause.denied:
            yield state(clause, "does regularly", activity, when.end(), polarity="ended", silent=True, timeless=True)
    yield state(
        clause,
        "does regularly",
        core.strip(),
        when.end(),
        confidence=0.8,
        polarity="ended" if clause.denied else "holds",
        timeless=True,
    )


_NOW = re.compile(r"\s+(?:now|again|from now on|these days|nowadays|instead)\b", re.IGNORECASE)
_THING = (
    r"(?:(?:my|our|the|(?P<owner>(?-i:[A-Z])\w+)'s)\s+)?(?P<what>[A-Za-z][\w'-]*(?:\s+(?!is\b|was\b|"
    r"has\b|got\b|moved\b|fell\b|did\b|will\b)[\w'-]+){0,6}?)"
)
_FELL = re.compile(
    rf"\s*{_THING}\s+(?:(?:has\s+|just\s+)?(?:fell|fallen)\s+through|(?:was|were|got|has\s+been|"
    rf"have\s+been|is|are|is\s+now|'s\s+been)\s+(?:cancel+ed|called\s+off|off|scrapped)\b(?!\s+the)"
    r"|didn't\s+(?:happen|work\s+out|take\s+place|go\s+ahead)|isn't\s+happening|is\s+not\s+happening|"
    r"never\s+happened|won't\s+happen|is\s+no\s+longer\s+happening)(?:\s+(?:after\s+all|anymore|"
    r"this\s+year))?",
    re.IGNORECASE,
)
_SHIFTED = re.compile(
    rf"\s*{_THING}\s+(?:(?:has\s+|just\s+)?(?:moved|shifted|switched|changed)|(?:was|got|is|has\s+been|"
    rf"is\s+now|is\s+being)\s+(?:now\s+)?(?:moved|postponed|rescheduled|shifted|pushed(?:\s+back)?|"
    rf"brought\s+forward|changed))"
    r"(?:\s+from\s+(?P<old>[\w:.]+(?:\s+[ap]m)?(?:\s+(?:morning|evening|afternoon))?))?\s+(?:to|until|"
    r"till|for)\s+(?P<new>[^.!?;]+?)(?=\s*(?:,|\s+(?:because|since|so|but|and|instead|now)\b|[.!?;]|$))",
    re.IGNORECASE,
)


def read_fallen(plain: str, start: int, end: int, speaker: str) -> list[Statement]:
    """ "The trip to Rome fell through": a plan that has ended, whatever its verb was."""
    m = _FELL.match(plain, start, end)
    if m is None or re.match(
        r"(?:it|that|this|which|what|everything|something|nothing|he|she|they|we|i)\b", m["what"], re.IGNORECASE
    ):
        return []
    begin = m.start() + len(m[0]) - len(m[0].lstrip())
    text = m[0].strip()
    text = re.sub(r"^(?:my|our)\b", f"{speaker}'s", text, flags=re.IGNORECASE)
    if re.search(r"\boff$", m[0]) and not re.match(r"\s*(?:my|our|the)\b", m[0], re.IGNORECASE):
        return []
    speaker = m["owner"] or speaker
    ended = Statement(text, speaker, "plans", m["what"], begin, m.end(), 0.85, "ended")
    return [ended, Statement(text, speaker, "does regularly", m["what"], begin, m.end(), 0.85, "ended", silent=True)]


_DATED = re.compile(
    (
        rf"(?:on\s+)?(?:{_WEEKDAY}|mon|tue|wed|thu|fri|sat|sun|next|the\s+\d|\d|january|february|march|april|"
        rf"may|june|july|august|september|october|november|december|tomorrow|noon|midnight|this|in\s|"
        rf"a\s+(?:later|week))"
    ),
    re.IGNORECASE,
)


def read_shifted(plain: str, start: int, end: int, speaker: str) -> list[Statement]:
    """ "Yoga moved to Thursdays", "the meeting was moved from Monday to Tuesday"."""
    m = _SHIFTED.match(plain, start, end)
    if (
        m is None
        or not _DATED.match(m["new"])
        or re.match(r"(?:it|that|this|which|he|she|they|we|i)\b", m["what"], re.IGNORECASE)
    ):
        return []
    begin = m.start() + len(m[0]) - len(m[0].lstrip())
    text = re.sub(r"^(?:my|our)\b", f"{speaker}'s", m[0].strip(), flags=re.IGNORECASE)
    text = text[:1].upper() + text[1:]
    what, new = m["what"], m["new"].strip()
    if re.search(rf"{_WEEKDAY}s\b", new, re.IGNORECASE) or re.search(rf"{_WEEKDAY}s\b", m["old"] or "", re.IGNORECASE):
        old = _singular_day(m["old"]) if m["old"] else None
        return [
            Statement(text, speaker, "does regularly", what, begin, m.end(), 0.8, "ended", silent=True, timeless=True),
            Statement(
                text,
                speaker,
                "does regularly",
                f"{what} on {re.sub('^on ', '', new)}",
                begin,
                m.end(),
                0.8,
                instead_of=old,
                timeless=True,
            ),
        ]
    subject = f"the {what.lower() if what[0].isupper() and what[1:].islower() else what}"
    value = re.sub(r"^(?:on|at)\s+", "", new)
    return [
        Statement(
            text,
            subject,
            "time" if re.match(r"(?:at\s+)?(?:\d{1,2}(?::\d\d|\s?[ap]m\b)|noon|midnight)", value) else "date",
            value,
            begin,
            m.end(),
            0.85,
            single=True,
            instead_of=m["old"],
        )
    ]


def _singular_day(text: str) -> str:
    return re.sub(rf"\b({_WEEKDAY})s\b", r"\1", text, flags=re.IGNORECASE)
