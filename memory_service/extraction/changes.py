"""Changes: what a clause says that began or ended. Moving, work, school, marriage, pets, habits.

Each reader gets a clause of its verb and gives the statements: what holds now, and, silently, what it ended.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from .clauses import Clause, as_present
from .predicates import marriage, read_state, without_article
from .statement import Statement, state
from .types import Polarity
from .values import is_named, value_of
from .vocabulary import (
    COUNT_WORD,
    DIETS,
    DRINKS,
    HABITS,
    KIN,
    NATIONALITIES,
    OCCUPATIONS,
    PETS,
    THINGS,
    VEHICLES,
    word_set,
)

Reader = Callable[[Clause], Iterator[Statement]]

_HAPPENED = ("past", "perfect")
_PLACE = r"(?:(?:the|a|an)\s+)?(?-i:[A-Z])[\w'’.-]*(?:,?\s+(?:(?:of|the|de|la|upon|on)\s+)?(?-i:[A-Z])[\w'’.-]*)*"
_HOME = (
    r"(?:the\s+)?(?:countryside|city\s+cent(?:re|er)|suburbs|city|coast|village)\b(?:\s+of\s+[A-Z]\w+)?|abroad|"
    r"(?:an?|our|my)\s+(?:[\w-]+\s+){0,2}?(?:house|flat|apartment|home|place|cottage|studio|condo|townhouse)\s+"
    r"(?:in|near|on|outside)\s+(?-i:[A-Z]\w+(?:\s[A-Z]\w+)?)"
)
_FROM_TO = re.compile(
    rf"\s*(?:(?:back|over|out|away|up|down|here|house|home|in(?!\s+(?-i:[A-Z])))\b\s*)*"
    rf"(?:from\s+(?P<from>{_PLACE})\s*,?\s*)?"
    rf"(?:(?:back\s+|over\s+|out\s+|up\s+|down\s+)?(?:to|into|in)\s+(?P<to>{_PLACE}|{_HOME})\s*)?"
    rf"(?:,?\s*(?:away\s+)?from\s+(?P<late>{_PLACE}))?",
    re.IGNORECASE,
)
_AWAY = re.compile(rf"\s*(?:out\s+of|away\s+from|from)\s+(?P<from>{_PLACE})", re.IGNORECASE)
_MONTHS_AND_DAYS = re.compile(
    r"\s*,?\s*\b(?:January|February|March|April|May|June|July|August|September|October|November|December|"
    r"Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday|Christmas|Easter)$"
)


def read_change(clause: Clause) -> list[Statement]:
    """What began or ended, as the clause says; [] where it says no such thing."""
    reader = _READERS.get(clause.lemma)
    return list(reader(clause)) if reader else []


def _ended(clause: Clause, attributes: str, value: str | None, upto: int) -> Iterator[Statement]:
    """Silent ends of a value under several attributes ("owns|has|drives"): we do not know which one held it."""
    for attribute in attributes.split("|"):
        yield state(clause, attribute, value, upto, polarity="ended", silent=True)


def _moved(clause: Clause) -> Iterator[Statement]:
    if clause.form not in _HAPPENED or clause.denied:
        return
    away = _AWAY.match(clause.rest)
    m = _FROM_TO.match(clause.rest)
    if m is None or not (m["from"] or m["to"] or m["late"]):
        if away:
            yield state(clause, "lives in", _place(away["from"]), away.end(), polarity="ended")
        yield from _moved_in(clause)
        return
    old = m["from"] or m["late"]
    if any(_DAY.match(place) for place in (m["from"], m["to"], m["late"]) if place):
        return  # "yoga moved to Thursdays"
    upto = len(clause.rest[: m.end()].rstrip(" ,"))
    upto += _trailing_time(clause.rest[upto:])
    if old:
        yield state(clause, "lives in", _place(old), upto, polarity="ended", silent=bool(m["to"]), confidence=0.9)
    if m["to"]:
        yield state(clause, "lives in", _place(m["to"]), upto, polarity="holds", confidence=0.95)


_DAY = re.compile(
    r"(?:January|February|March|April|May|June|July|August|September|October|November|December|"
    r"Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)(?:days?)?\b|\d"
)


def _moved_in(clause: Clause) -> Iterator[Statement]:
    m = re.match(r"\s*(?:back\s+)?in\s+(?:together\s+)?with\s+", clause.rest, re.IGNORECASE)
    value = value_of(clause.rest[m.end() :], "place") if m else None
    if m and value:
        yield state(clause, "lives with", value, m.end() + len(value), polarity="holds")


def _place(text: str) -> str:
    return _MONTHS_AND_DAYS.sub("", text).strip(" ,.")


_WHEN = re.compile(
    r"\s*,?\s*(?:(?:back\s+)?(?:in|on|last|this|at|during|two|three|four|five|six|a|about|around|early|late|"
    r"yesterday|today|since|\d+)\b[^,.;!?()]{0,40}?(?:\d{4}|ago|yesterday|today|week|weekend|month|year|spring|summer|"
    r"autumn|fall|winter|morning|night|January|February|March|April|May|June|July|August|September|October|November|"
    r"December|Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday|Christmas|the \d+\w\w)(?!\w)"
    r"(?:\s+(?:ago|\d{4}|last year|this year|\d{1,2}))?|\s+(?:yesterday|today|tomorrow)\b)",
    re.IGNORECASE,
)


def _trailing_time(rest: str) -> int:
    """How many characters of `rest` say when it was."""
    m = _WHEN.match(rest)
    return m.end() if m else 0


_JOB = (
    r"(?:(?:my|a|an|the|his|her|their|this|our)\s+)?(?:(?:new|current|old|first|own|full-time|part-time|"
    r"day|dream|summer)\s+)*(?:job|position|role|post|gig)"
)
_EMPLOYER = re.compile(
    (
        r"\b(?:at|for|with|by)\s+(?P<value>(?:(?:the|an?)\s+)?[\w&'’.-]+(?:\s+(?!as\b|in\b|on\b|last\b|"
        r"this\b|and\b|but\b|where\b|because\b|from\b|since\b|to\b|at\b|for\b|next\b|yesterday\b|today\b|"
        r"about\b|a\s)[\w&'’.-]+){0,5})"
    ),
    re.IGNORECASE,
)
_ROLE = re.compile(
    (
        r"\bas\s+(?:an?\s+|the\s+|their\s+|its\s+)?(?P<value>[\w'’-]+(?:\s+(?!at\b|for\b|in\b|with\b|last\b|"
        r"this\b|on\b|and\b|but\b|where\b|because\b|since\b|from\b|next\b|yesterday\b|ago\b)[\w'’-]+){0,5})"
    ),
    re.IGNORECASE,
)


def employed(clause: Clause, begin: int, *, ended: bool = False, as_name: str | None = None) -> Iterator[Statement]:
    """Employer and occupation in what stands behind `begin` ("at Acme as a nurse"), or in `as_name`."""
    rest = clause.rest
    value = value_of(rest[begin:], "event") or ""
    upto = begin + len(value)
    employer, role = _EMPLOYER.search(rest, begin, upto), _ROLE.search(rest, begin, upto)
    where = as_name or (employer["value"] if employer else None)
    if where and re.match(
        (
            r"(?:an?\s+)?(?:few|while|years?|months?|weeks?|\d+|two|three|four|five|six|ten|good|myself|me|last|"
            r"least|first)\b"
        ),
        where,
        re.IGNORECASE,
    ):
        where = None
    polarity: Polarity = "ended" if ended else "holds"
    text = clause.tell(rest[:upto])
    if where:
        # Each has a text of its own, since one may end without the other.
        how = employer[0].split()[0].lower() if employer and not as_name else "at"
        how = how if how in ("for", "with") else "at"
        at = f"{clause.subject} {'worked' if ended else 'works'} {how} {_clean(where)}"
        split = role and clause.lemma == "work" and clause.form in ("present", "ing")
        yield state(
            clause, "works at", _clean(where), upto, polarity=polarity, confidence=0.9, text=at if split else text
        )
    if role:
        told = None if not where else f"{clause.subject} {'worked' if ended else 'works'} as {role[0][3:].strip()}"
        yield state(
            clause,
            "works as",
            without_article(role["value"]),
            upto,
            polarity=polarity,
            confidence=0.9,
            text=told or text,
        )


def _clean(value: str) -> str:
    value = _MONTHS_AND_DAYS.sub("", value.strip(" ,."))
    return re.sub(r"\s+(?:in|on|at|since|from|last|this|next)$", "", value)


def _worked(clause: Clause) -> Iterator[Statement]:
    if (
        way := re.match(
            r"\s*(?P<way>from home|remotely|nights|part[- ]time|full[- ]time|freelance|night shifts|in shifts)\b",
            clause.rest,
            re.IGNORECASE,
        )
    ) and clause.form in ("present", "ing", "used"):
        yield state(clause, "works", way["way"], way.end(), confidence=0.85)
        return
    m = re.match(r"\s*(?P<how>at|for|as|in|with)\s+", clause.rest, re.IGNORECASE)
    if m is None or clause.form in ("future", "perfect"):
        return
    over = clause.form in ("past", "used") or clause.denied
    never = clause.form == "past" and clause.denied
    if m["how"].lower() in ("in", "with"):
        value = value_of(clause.rest[m.end() :], "noun")
        if value:
            yield state(clause, "works in", value, m.end() + len(value), confidence=0.8)
        return
    if value_of(clause.rest[m.end() :], "noun") is None:
        return
    for found in employed(clause, 0, ended=over):
        if never:
            found = state(clause, found.attribute or "", found.value, found.end - clause.rest_start, polarity="never")
        yield found


def _started(clause: Clause) -> Iterator[Statement]:
    if clause.form not in _HAPPENED or clause.denied:
        return
    rest = clause.rest
    if m := re.match(rf"\s*(?:{_JOB}|working|work)\b", rest, re.IGNORECASE):
        yield from employed(clause, m.end())
        if re.search(r"\bnew\b", m[0]) and not list(employed(clause, m.end())):
            yield state(clause, "did", "start a new job", m.end(), polarity="holds")
    elif re.match(r"\s*(?:at|with|as|for)\s", rest, re.IGNORECASE):
        yield from employed(clause, 0)
    elif m := re.match(
        (
            r"\s*(?:an?|my|our)(?:\s+own)?\s+(?=(?:[\w-]+\s+){0,2}?(?:business|company|blog|podcast|channel|"
            r"startup|shop|bakery|charity|agency)\b)"
        ),
        rest,
        re.IGNORECASE,
    ):
        value = value_of(rest[m.end() :], "noun")
        if value:
            yield state(clause, "runs", "a " + value, m.end() + len(value), polarity="holds")
    elif m := re.match(
        (
            r"\s*(?:(?:at\s+)?(?P<school>college|university|uni|school|medical school|law school|high school|"
            r"grad school)\b(?:\s+(?:at|in)\s+)?)"
        ),
        rest,
        re.IGNORECASE,
    ):
        value = value_of(rest[m.end() :], "event") or m["school"]
        yield state(
            clause,
            "studies at",
            value,
            max(m.end(), m.end() + len(value) if value in rest[m.end() :] else 0),
            polarity="holds",
        )
    else:
        yield from _took_up(clause, re.match(r"\s*(?:to\s+|doing\s+)?", rest).end())  # type: ignore[union-attr]


_TAKEN = re.compile(
    r"\s*(?P<drug>(?!(?:lessons|classes|part|place|notes|pictures|photos|breaks|naps|care|singing|dancing|piano|guitar)\b)"
    r"[a-z][\w-]{4,})"
)


def _took_up(clause: Clause, begin: int) -> Iterator[Statement]:
    """ "started playing the cello", "took up climbing": the habit holds from now on."""
    inner = as_present(clause, clause.rest[begin:], begin)
    if inner is not None and inner.lemma == "smoke":
        yield state(clause, "smokes", None, begin + 7, polarity="holds", confidence=0.85)
        return
    taken = _TAKEN.match(inner.rest) if inner is not None and inner.lemma == "take" else None
    if inner is not None and taken is not None:
        upto = inner.rest_start - clause.rest_start + taken.end()
        yield state(clause, "takes", taken["drug"], upto, polarity="holds", confidence=0.8)
        return
    if inner is not None:
        for found in (*read_change(inner), *read_state(inner)):
            if found.polarity == "holds" and not found.silent and found.value:
                upto = found.end - clause.rest_start
                yield state(clause, found.attribute or "", found.value, upto, polarity="holds", confidence=0.85)
                return
    value = value_of(clause.rest[begin:], "activity")
    if value and re.match(
        r"(?!(?:feel|think|look|gett|be|see|hav|talk|go|do|mak|try|cry|laugh)ing\b)[\w-]+ing\b|(?:yoga|pilates|karate|judo|tennis|golf|chess|pottery|piano|guitar|ballet|the\b)",
        value,
        re.IGNORECASE,
    ):
        yield state(clause, "practises", value, begin + len(value), polarity="holds", confidence=0.8)


def _gave_up(clause: Clause, begin: int) -> Iterator[Statement]:
    """ "stopped drinking coffee", "gave up chess", "quit smoking"."""
    inner = as_present(clause, clause.rest[begin:], begin)
    if inner is not None:
        habit = [*read_change(inner), *_habit(inner)]
        for found in habit[:1]:
            upto = found.end - clause.rest_start
            yield state(clause, found.attribute or "", found.value, upto, polarity="ended", confidence=0.9)
            return
    value = value_of(clause.rest[begin:], "activity")
    if not value or re.match(r"\s*(?:on\b|my\b|the\b|trying|hope|by\b|at\b|in\b|for\b|to\b)", value, re.IGNORECASE):
        return
    drink = re.match(DRINKS, value, re.IGNORECASE)
    first = "drinks" if drink else "practises"
    yield state(clause, first, value, begin + len(value), polarity="ended", confidence=0.85)
    others = "does regularly" if drink else "plays|eats|drinks|does regularly|is learning"
    yield from _ended(clause, others, value, begin + len(value))


def _habit(inner: Clause) -> Iterator[Statement]:
    """What a habit's verb says of itself, also where it would be too little to remember ("drinks coffee")."""
    attribute = HABITS.get(inner.lemma)
    if attribute:
        value = value_of(inner.rest, "habit")
        if value is not None:
            yield state(inner, attribute, value or None, len(value), polarity="holds")
        return
    yield from (found for found in read_state(inner) if found.polarity == "holds")


def _stopped(clause: Clause) -> Iterator[Statement]:
    if clause.form in _HAPPENED and not clause.denied:
        yield from _gave_up(clause, 0)


def _gave(clause: Clause) -> Iterator[Statement]:
    if clause.form not in _HAPPENED or clause.denied:
        return
    if m := re.match(r"\s*up\s+(?:on\s+)?", clause.rest, re.IGNORECASE):
        yield from _gave_up(clause, m.end())
    elif (m := re.match(r"\s*(?=(?-i:[A-Z]\w+)\s+away\b)", clause.rest, re.IGNORECASE)) or (
        m := re.match(
            (
                r"\s*away\s+(?:my|our|his|her|their)\s+(?:old\s+)?|\s*(?:my|our|his|her|"
                r"their)\s+(?:old\s+)?(?=[\w -]+?\s(?:to|away)\b)"
            ),
            clause.rest,
            re.IGNORECASE,
        )
    ):
        yield from _parted(clause, m.end())


def _took(clause: Clause) -> Iterator[Statement]:
    if clause.form in _HAPPENED and not clause.denied:
        if m := re.match(r"\s*up\s+", clause.rest, re.IGNORECASE):
            yield from _took_up(clause, m.end())
        elif m := re.match(rf"\s*{_JOB}\b", clause.rest, re.IGNORECASE):
            yield from employed(clause, m.end())
    elif clause.form in ("present", "ing") and (
        m := re.match(
            (
                r"\s*(?=[\w -]{0,30}\b(?:\d+ ?mg|medication|medicine|pills|insulin|metformin|antidepressants|"
                r"statins?|antibiotics)\b|[\w-]+(?:\s\d+ ?mg)?\s+for\s+(?:my|his|her|their)\s)"
            ),
            clause.rest,
            re.IGNORECASE,
        )
    ):
        value = value_of(clause.rest, "noun")
        if value:
            what_for = re.search(r"\bfor\s+(?P<what>(?:my|his|her|their)\s+[\w ]+)$", value.strip())
            if what_for and (clause.keep == "now" or re.match(r"\s+(?:now|instead)\b", clause.rest[len(value) :])):
                yield from _ended(clause, "takes", what_for["what"], len(value))  # whatever it was before
            yield state(clause, "takes", value, len(value))


def _quit(clause: Clause) -> Iterator[Statement]:
    """ "quit my job at Acme", "quit smoking", "quit Acme"."""
    if clause.form not in _HAPPENED or clause.denied:
        return
    if re.match(
        rf"\s*(?:{_JOB}|work|working)\b|\s*(?:[.,!;]|$|last\b|yesterday|today|in\b|because|and\b)",
        clause.rest,
        re.IGNORECASE,
    ):
        yield from _lost_work(clause, 0)
    elif m := re.match(
        (
            r"\s*(?:my|the|his|her|our|their)\s+(?P<what>(?:[\w'-]+\s+){0,2}?(?:phd|degree|masters?|master's|"
            r"course|studies|doctorate|apprenticeship))\b"
        ),
        clause.rest,
        re.IGNORECASE,
    ):
        yield state(clause, "studies", m["what"], m.end(), polarity="ended", confidence=0.9)
    elif re.match(r"\s*(?:as|from|at)\s", clause.rest, re.IGNORECASE):
        yield from _lost_work(clause, 0)
    elif m := re.match(rf"\s*(?P<value>{_PLACE})", clause.rest):
        yield from _left_named(clause, m)
    else:
        yield from _gave_up(clause, 0)


def _lost_work(clause: Clause, begin: int) -> Iterator[Statement]:
    """The end of work, at a named employer or wherever it was."""
    m = re.compile(rf"\s*(?:{_JOB}\b|work\b|working\b)?\s*", re.IGNORECASE).match(clause.rest, begin)
    begin = m.end() if m else begin
    value = value_of(clause.rest[begin:], "event") or ""
    upto = begin + len(value) if value.strip() else len(clause.rest[:begin].rstrip())
    rest = clause.rest.replace(" from ", " at   ") if " from " in clause.rest[:upto] else clause.rest
    rest = re.sub(r"^(\s*)from\b", r"\1at  ", rest)
    employer, role = _EMPLOYER.search(rest, max(0, begin - 6), upto), _ROLE.search(rest, max(0, begin - 6), upto)
    text = clause.tell(clause.rest[:upto])
    where = _clean(employer["value"]) if employer else None
    if where and re.match(r"(?:the\s+|my\s+)?(?:job|position|work)\b|good\b", where, re.IGNORECASE):
        where = None
    if role and not where:
        yield state(
            clause, "works as", without_article(role["value"]), upto, polarity="ended", text=text, confidence=0.9
        )
        return
    yield state(clause, "works at", where, upto, polarity="ended", text=text, confidence=0.9)
    if where is None:
        yield state(clause, "works as", None, upto, polarity="ended", silent=True)


def _left_named(clause: Clause, m: re.Match[str]) -> Iterator[Statement]:
    """ "left Lisbon", "quit Acme": the words do not say whether it was home or work."""
    upto = m.end() + _trailing_time(clause.rest[m.end() :])
    first, second = ("works at", "lives in") if clause.lemma in ("quit", "resign") else ("lives in", "works at")
    yield state(clause, first, _place(m["value"]), upto, polarity="ended", confidence=0.8)
    yield from _ended(clause, f"{second}|studies at|member of", _place(m["value"]), upto)


def _left(clause: Clause) -> Iterator[Statement]:
    if clause.form not in _HAPPENED or clause.denied:
        return
    if re.match(rf"\s*{_JOB}\b", clause.rest, re.IGNORECASE):
        yield from _lost_work(clause, 0)
    elif m := re.match(
        r"\s*(?:my|our)\s+(?P<kin>husband|wife|partner|boyfriend|girlfriend)\b", clause.rest, re.IGNORECASE
    ):
        yield state(clause, "partner", None, m.end(), polarity="ended")
    elif m := re.match(
        r"\s*(?:the\s+)?(?=(?:[\w-]+\s+){0,2}(?:club|team|band|choir|group|church|league|orchestra|union)\b)",
        clause.rest,
        re.IGNORECASE,
    ):
        value = value_of(clause.rest[m.end() :], "noun")
        if value:
            yield state(clause, "member of", value, m.end() + len(value), polarity="ended")
    elif (m := re.match(rf"\s*(?P<value>{_PLACE})(?!'s)(?!\s+(?:a|the|my|an|to)\b)", clause.rest)) and not re.match(
        r"\s+(?:for|at)\s+(?:the|work|\d)", clause.rest[m.end() :]
    ):
        yield from _left_named(clause, m)


def _hired(clause: Clause) -> Iterator[Statement]:
    """ "got hired by Acme as ...", "was fired", "am being laid off", "was promoted to"."""
    m = re.match(
        r"\s*(?:just\s+|recently\s+|then\s+)?(?:(?P<in>hired|employed|recruited)|(?P<out>laid\s+off|fired|"
        r"let\s+go|made\s+redundant|sacked|dismissed)|"
        r"(?P<up>promoted)(?:\s+(?:from\s+[\w\s-]+?\s+)?to\s+)?|(?P<accept>accepted|admitted)\s+(?:in)?to\s+)\b\s*",
        clause.rest,
        re.IGNORECASE,
    )
    if m is None or clause.denied:
        return
    if m["in"]:
        yield from employed(clause, m.end())
    elif m["out"]:
        yield from _lost_work(clause, m.end())
    elif m["accept"]:
        value = value_of(clause.rest[m.end() :], "noun")
        if value:
            yield state(clause, "studies at", value, m.end() + len(value), polarity="holds", confidence=0.7)
    elif value := value_of(clause.rest[m.end() :], "noun"):
        yield state(
            clause, "works as", _clean(without_article(_until_time(value))), m.end() + len(value), polarity="holds"
        )


def _until_time(value: str) -> str:
    m = re.search(
        (
            r"\s+(?:last|this|in|on|yesterday|today|two|three|a)\s*(?:\w+\s*)?(?:week|month|year|spring|summer|"
            r"autumn|fall|winter|January|February|March|April|May|June|July|August|September|October|November|"
            r"December|\d{4}|ago|yesterday|today|Monday|Tuesday|Wednesday|Thursday|Friday)\b.*$"
        ),
        value,
    )
    return value[: m.start()] if m else value


def _got(clause: Clause) -> Iterator[Statement]:
    if clause.form not in (*_HAPPENED, "ing") or clause.denied:
        return
    rest = clause.rest
    if m := re.match(rf"\s*{_JOB}\b|\s*(?:an?\s+)?(?:offer|promotion)\b", rest, re.IGNORECASE):
        if clause.form == "ing":
            return
        named = list(employed(clause, m.end()))
        yield from named
        if (
            not named
            and (to := re.match(r"\s*(?:to|as)\s+", rest[m.end() :]))
            and (value := value_of(rest[m.end() + to.end() :], "noun"))
        ):
            yield state(clause, "works as", without_article(value), m.end() + to.end() + len(value), polarity="holds")
    elif m := re.match(
        (
            r"\s*(?P<status>re-?married|married|engaged|divorced|separated)(?:\s+(?:to|"
            r"from)\s+(?P<partner>(?:my\s+)?[\w'-]+(?:\s(?-i:[A-Z])\w+)?))?"
        ),
        rest,
        re.IGNORECASE,
    ):
        if clause.form != "ing":
            status = m["status"].lower().replace("remarried", "married").replace("re-married", "married")
            end = m.end() + _trailing_time(rest[m.end() :])
            mate = m["partner"] or (
                clause.who.with_kin if clause.who.with_kin and is_named(clause.who.with_kin) else None
            )
            yield from marriage(clause, status, mate, end)
    elif re.match(
        r"\s*(?:just\s+)?(?:hired|fired|laid\s+off|promoted|sacked|let\s+go|made\s+redundant|accepted)\b",
        rest,
        re.IGNORECASE,
    ):
        if clause.form != "ing":
            yield from _hired(clause)
    elif m := re.match(r"\s*(?:over|rid\s+of|better\s+from)\s+(?:my\s+|the\s+)?", rest, re.IGNORECASE):
        value = value_of(rest[m.end() :], "noun")
        if value:
            attribute = "owns" if "rid" in m[0] else "suffers from"
            yield state(clause, attribute, value, m.end() + len(value), polarity="ended")
            if attribute == "owns":
                yield from _ended(clause, "has|drives", value, m.end() + len(value))
    elif clause.form != "ing":
        yield from _acquired(clause)


def _acquired(clause: Clause) -> Iterator[Statement]:
    """ "adopted a cat called Momo", "bought a Mazda"."""
    if clause.form not in _HAPPENED or clause.denied:
        return
    m = re.match(
        (
            r"\s*(?:(?:us|me|myself|ourselves)\s+)?(?=(?:an?|two|three|four|my first|our first|my own|our own|"
            r"another|the)\s)"
        ),
        clause.rest,
        re.IGNORECASE,
    )
    value = value_of(clause.rest[m.end() :], "noun") if m else None
    if m is None or not value:
        return
    said = _until_time(value)
    pet = re.search(rf"\b(?:{PETS})\b", said, re.IGNORECASE)
    thing = re.search(
        rf"\b(?:{THINGS}|{VEHICLES}|phone|laptop|land|computer|keyboard|tent|kayak|sofa)\b", said, re.IGNORECASE
    ) or re.match(r"(?:an?|my first|another)\s+(?:\w+\s+)?(?:used\s+)?(?-i:[A-Z])", said)
    person = re.match(rf"(?:an?|two)\s+(?:{KIN}|baby|little\s+\w+)\b", said, re.IGNORECASE)
    upto = m.end() + len(value)
    if pet:
        yield state(clause, "has", said, upto, polarity="holds", confidence=0.9)
    elif person:
        yield state(clause, "has", said, upto, polarity="holds", confidence=0.85)
    elif thing and clause.lemma != "adopt":
        yield state(clause, "owns", said, upto, polarity="holds", confidence=0.85)


def _parted(clause: Clause, begin: int | None = None) -> Iterator[Statement]:
    """ "sold my Honda", "lost my dog"."""
    if clause.form not in _HAPPENED or clause.denied:
        return
    if begin is None:
        m = re.match(r"\s*(?:my|our|the|his|her|their)\s+(?:old\s+|beloved\s+)?", clause.rest, re.IGNORECASE)
        if m is None and clause.lemma in ("rehome", "lose", "sell"):
            m = re.match(r"\s*(?=[A-Z]\w+\s*(?:$|[.,!]|last\b|to\b|yesterday|today|this\b))", clause.rest)
        if m is None:
            return
        begin = m.end()
    if clause.lemma == "lose" and re.match(
        r"(?:[\w-]+\s+)?(?:job|position|role)\b", clause.rest[begin:], re.IGNORECASE
    ):
        yield from _lost_work(clause, 0)
        return
    value = value_of(clause.rest[begin:], "noun")
    if not value:
        return
    said = _until_time(re.sub(r"\s+(?:to|for|on|at|after|away)\b.*$", "", value))
    if clause.lemma in ("lose",) and not re.search(
        rf"\b(?:{PETS}|{THINGS}|{VEHICLES}|{KIN}|wallet|phone|ring|laptop|(?-i:[A-Z]\w+))\b",
        said,
        re.IGNORECASE,
    ):
        return
    upto = begin + len(value)
    pet = re.search(rf"\b(?:{PETS})\b", said, re.IGNORECASE)
    yield state(clause, "has" if pet else "owns", said, upto, polarity="ended", confidence=0.9)
    yield from _ended(clause, "owns" if pet else "has|drives", said, upto)
    if clause.lemma == "trade" and (new := re.search(r"\bfor\s+(?P<new>an?\s+.+)$", value)):
        yield state(clause, "owns", new["new"], upto, polarity="holds")


def _joined(clause: Clause) -> Iterator[Statement]:
    if clause.form not in _HAPPENED or clause.denied:
        return
    rest = clause.rest
    if m := re.match(
        (
            r"\s*(?=(?:an?|the|my local|our local)\s+(?:[\w'-]+\s+){0,4}?(?:club|team|band|gym|group|choir|"
            r"league|orchestra|society|union|class|church)\b)"
        ),
        rest,
        re.IGNORECASE,
    ):
        value = value_of(rest[m.end() :], "noun")
        if value:
            yield state(
                clause, "member of", without_article(_until_time(value)), m.end() + len(value), polarity="holds"
            )
    elif m := re.match(
        (
            rf"\s*(?P<value>{_PLACE}|the\s+(?:army|navy|police|air force|marines)|an?\s+(?:\w+\s+)*?(?:startup|"
            rf"company|firm|hospital|practice))"
        ),
        rest,
    ):
        tail = employed(clause, m.end(), as_name=_clean(_place(m["value"])))
        yield from tail


def _retired(clause: Clause) -> Iterator[Statement]:
    if clause.form in _HAPPENED and not clause.denied:
        value = value_of(clause.rest, "event") or ""
        if re.match(r"\s*to\s+(?:bed|my)", value):
            return
        yield state(clause, "employment", "retired", len(value), polarity="holds", confidence=0.9)


def _studied(clause: Clause) -> Iterator[Statement]:
    m = re.match(r"\s*(?:(?P<at>at)\s+)?", clause.rest, re.IGNORECASE)
    if (
        m is None
        or clause.form in ("future", "perfect")
        or re.match(r"\s*(?:for|hard|all|with|in|abroad|a lot|together)\b", clause.rest, re.IGNORECASE)
    ):
        return
    value = value_of(clause.rest[m.end() :], "activity" if not m["at"] else "noun")
    if not value:
        return
    upto = m.end() + len(value)
    now = clause.form in ("present", "ing")
    subject, _, school = (value, "", "") if m["at"] else value.partition(" at ")
    if m["at"]:
        yield state(clause, "studies at", value, upto, confidence=0.9)
        return
    yield state(
        clause,
        "studies" if now or clause.denied else "studied",
        subject,
        upto,
        confidence=0.85,
        polarity=None if now or clause.denied else "holds",
    )
    if school and now and not clause.denied:
        yield state(clause, "studies at", school, upto, text=f"{clause.subject} studies at {school}", confidence=0.85)


def _graduated(clause: Clause) -> Iterator[Statement]:
    if clause.form in _HAPPENED and not clause.denied:
        m = re.match(r"(?:\s+(?:from|with|in|at)\b)?", clause.rest, re.IGNORECASE)
        value = value_of(clause.rest[m.end() :], "event") if m else None
        if value is not None and m:
            value = value.strip()
            upto = m.end() + 1 + len(value) if value else len(clause.rest[: m.end()].rstrip())
            where = _clean(_until_time(value)) if value else None
            named = where if where and "from" in m[0] else None
            yield state(
                clause,
                "studied",
                f"graduated {m[0].strip()} {where}".strip() if where else "graduated",
                upto,
                polarity="holds",
                confidence=0.9,
            )
            yield from _ended(clause, "studies at|studies", named, upto)


def _dropped(clause: Clause) -> Iterator[Statement]:
    m = re.match(r"\s*out\s+of\s+", clause.rest, re.IGNORECASE)
    if m and clause.form in _HAPPENED and not clause.denied and (value := value_of(clause.rest[m.end() :], "noun")):
        yield state(clause, "studies at", value, m.end() + len(value), polarity="ended")


def _enrolled(clause: Clause) -> Iterator[Statement]:
    m = re.match(r"\s*(?:at|in)\s+", clause.rest, re.IGNORECASE)
    if m and clause.form in _HAPPENED and not clause.denied and (value := value_of(clause.rest[m.end() :], "noun")):
        attribute = (
            "studies at" if is_named(value) or re.search(r"\b(?:college|university|school)\b", value) else "studies"
        )
        yield state(clause, attribute, value, m.end() + len(value), polarity="holds", confidence=0.85)


def _switched(clause: Clause) -> Iterator[Statement]:
    """ "switched from X to Y", "changed jobs from X to Y": what kind of thing it is, Y tells."""
    if clause.form not in _HAPPENED or clause.denied:
        return
    m = re.match(
        (
            r"\s*(?:(?P<what>jobs?|careers?|companies|employers?|majors?|schools?|banks?|phones?|"
            r"names?)\s+)?(?:over\s+)?(?:from\s+(?P<old>[\w' &-]{1,40}?)\s+)?to\s+"
        ),
        clause.rest,
        re.IGNORECASE,
    )
    value = value_of(clause.rest[m.end() :], "noun") if m else None
    if m is None or not value:
        return
    what, old, upto = (m["what"] or "").lower(), m["old"], m.end() + len(value)
    new = _until_time(value)
    attribute = _kind_of(what, new, old or "")
    if old:
        yield from _ended(
            clause,
            f"{attribute}|does regularly"
            if attribute == "drinks"
            else attribute
            if attribute != "uses"
            else "uses|owns|has|works at|practises|eats|drinks|takes|plays|does regularly",
            old.strip(),
            upto,
        )
    yield state(
        clause,
        attribute,
        without_article(new) if attribute == "works as" else new,
        upto,
        polarity="holds",
        confidence=0.8,
    )


def _kind_of(what: str, new: str, old: str) -> str:
    if what.startswith(("name",)):
        return "name"
    if what.startswith("major"):
        return "studies"
    if what.startswith("school"):
        return "studies at"
    if re.search(
        rf"\b(?:{OCCUPATIONS})s?\b|\b(?:teaching|nursing|engineering|consulting|sales|marketing|management|finance)\b",
        new,
        re.IGNORECASE,
    ):
        return "works as"
    if what.startswith(("job", "career", "compan", "employer")):
        return "works at"
    if re.match(rf"(?:decaf|green |black |herbal |oat )?(?:{DRINKS})\b", new, re.IGNORECASE):
        return "drinks"
    return "diet" if re.search(rf"\b{DIETS}\b|\bdiet\b", new, re.IGNORECASE) else "uses"


def _broke(clause: Clause) -> Iterator[Statement]:
    m = re.match(
        r"\s*up(?:\s+with\s+(?P<mate>(?:my\s+\w+|(?-i:[A-Z])\w+)))?(?!\s+(?:the|a|my|into|with))",
        clause.rest,
        re.IGNORECASE,
    )
    if m and clause.form in _HAPPENED and not clause.denied:
        mate = m["mate"] if m["mate"] and is_named(m["mate"]) else clause.who.with_kin
        pair = clause.who.pair
        upto = m.end() + _trailing_time(clause.rest[m.end() :])
        for i, person in enumerate(pair or (clause.subject,)):
            other = pair[1 - i] if pair else mate
            text = clause.tell(clause.rest[:upto]) if i == 0 else f"{person} broke up with {other}"
            if i == 0 and mate and not m["mate"]:
                text = f"{text} with {mate}"
            yield state(clause, "partner", other, upto, polarity="ended", subject=person, text=text)
            yield from (state(clause, "marital status", None, upto, polarity="ended", subject=person, silent=True),)


def _married(clause: Clause) -> Iterator[Statement]:
    if clause.form in _HAPPENED and not clause.denied:
        m = re.match(
            (
                r"\s*(?P<mate>(?-i:[A-Z])\w+(?:\s(?-i:[A-Z])\w+)?|(?:my|a|an|the)\s[\w -]{2,30}?(?=[.,!;]|$|"
                r"\sin\b|\slast\b))"
            ),
            clause.rest,
            re.IGNORECASE,
        )
        upto = m.end() + _trailing_time(clause.rest[m.end() :]) if m else _trailing_time(clause.rest)
        if m or clause.lemma in ("divorce", "separate", "wed") or not clause.rest.strip(" .!"):
            status = {"divorce": "divorced", "separate": "separated"}.get(clause.lemma, "married")
            yield from marriage(clause, status, m["mate"] if m else None, upto)


def _became(clause: Clause) -> Iterator[Statement]:
    if clause.form not in _HAPPENED or clause.denied:
        return
    rest = clause.rest
    lead = len(rest) - len(rest.lstrip())
    if m := re.match(rf"\s*(?:fully |completely |mostly |an? )*(?={DIETS}\b)", rest, re.IGNORECASE):
        value = value_of(rest[m.end() :], "short")
        if value:
            said = _until_time(value)
            yield state(clause, "diet", said, m.end() + len(value), polarity="holds", confidence=0.9)
    elif clause.lemma == "turn" and (
        m := re.match(rf"\s*(?P<age>\d{{1,3}}|{COUNT_WORD})\b(?!\s*(?:pages|degrees|%|into|to))", rest)
    ):
        yield state(
            clause, "age", m["age"], m.end() + _trailing_time(rest[m.end() :]), polarity="holds", confidence=0.9
        )
    elif clause.lemma == "become" and (value := value_of(rest[lead:], "occupation")):
        said = _until_time(value)
        upto = lead + len(value)
        if re.search(rf"\b(?:{OCCUPATIONS})\b", said, re.IGNORECASE):
            yield state(clause, "works as", without_article(said), upto, polarity="holds")
        elif re.match(
            r"an?\s+(?:member|citizen|father|mother|mom|mum|dad|parent|grand\w+|aunt|uncle|godmother|godfather)\b", said
        ):
            yield state(clause, "is", said, upto, polarity="holds")


def _died(clause: Clause) -> Iterator[Statement]:
    if clause.form not in _HAPPENED or clause.denied or clause.who.speaker:
        return
    if clause.lemma == "pass" and not re.match(r"\s*away\b", clause.rest):
        return
    m = re.match(r"\s*(?:away\b)?", clause.rest)
    begin = m.end() if m else 0
    upto = begin + _trailing_time(clause.rest[begin:])
    yield state(clause, "is", "dead", upto, polarity="holds", confidence=0.95)
    if clause.owner and _DEATH_TOLD.match(clause.rest, upto):  # "Rex", "Ann's dog Rex": a pet is no longer had
        owner, _, value = clause.subject.rpartition("'s ")
        yield state(clause, "has", value, upto, polarity="ended", silent=True, subject=owner or clause.owner)


# What may follow a death without saying that it was somebody else's: "Mora died last week, she was nineteen".
_DEATH_TOLD = re.compile(
    r"\s*(?:$|[.!,;]\s*(?:$|(?:he|she|it|they|aged|at|and|so|after|we|i|poor|only|which|rest|sadly)\b)|(?:at|aged|in|of|on|from|after|"
    r"peacefully|suddenly|and|so)\b)",
    re.IGNORECASE,
)


def _recovered(clause: Clause) -> Iterator[Statement]:
    m = re.match(r"\s*from\s+(?:my\s+|the\s+|a\s+)?", clause.rest, re.IGNORECASE)
    if m and clause.form in _HAPPENED and not clause.denied and (value := value_of(clause.rest[m.end() :], "noun")):
        yield state(clause, "suffers from", value, m.end() + len(value), polarity="ended")


def _being(clause: Clause) -> Iterator[Statement]:
    """Passives and adjectives of "be" that tell of a change: "was hired", "was diagnosed with", "were married"."""
    if clause.form in ("past", "perfect"):
        if m := re.match(r"\s*(?:just |recently |first )?diagnosed with ", clause.rest, re.IGNORECASE):
            value = value_of(clause.rest[m.end() :], "noun")
            if value:
                yield state(
                    clause,
                    "suffers from",
                    _until_time(value),
                    m.end() + len(value),
                    polarity="never" if clause.denied else "holds",
                    confidence=0.9,
                )
            return
        yield from _hired(clause)
    elif clause.form == "present" and not clause.denied and not clause.who.speaker:
        yield from _is_named(clause)


_NAMED = re.compile(
    r"\s*(?:called |named )?(?P<name>[A-Z][\w'-]*(?:\s[A-Z][\w'-]*)?)(?=\s*(?:$|[,;.!]|now\b|these days|again))"
)
_MATES = word_set("""
    wife husband partner girlfriend boyfriend spouse fiance fiancee fiancé fiancée
    """)


def _is_named(clause: Clause) -> Iterator[Statement]:
    """ "My boss is Karin", "my dog is called Rex"."""
    m = _NAMED.match(clause.rest)
    kin = re.fullmatch(r"(?P<owner>.+)'s (?:\w+ )*?(?P<kin>[a-zé]+)", clause.subject)
    if m is None or kin is None or re.fullmatch(NATIONALITIES, m["name"]):
        return
    what = kin["kin"]
    if clause.subject.endswith("best friend"):
        yield state(
            clause,
            "best friend",
            m["name"],
            m.end(),
            confidence=0.9,
            subject=kin["owner"].removesuffix("'s best"),
            single=True,
        )
        return
    attribute = "partner" if what in _MATES else "boss" if what in ("boss", "manager") else "name"
    subject = clause.subject if attribute == "name" else kin["owner"]
    yield state(clause, attribute, m["name"], m.end(), confidence=0.95, subject=subject, single=True)


def _changed(clause: Clause) -> Iterator[Statement]:
    """ "changed my name to X", "changed my phone number to Y"; else a switch."""
    m = re.match(
        (
            r"\s*(?:my|our)\s+(?P<what>(?:[a-z-]+ ){0,2}?(?:name|number|address|e-?mail|major|email address|"
            r"password))\s+(?:from\s+[\w@.' -]+?\s+)?to\s+"
        ),
        clause.rest,
        re.IGNORECASE,
    )
    if m is None:
        yield from _switched(clause)
    elif clause.form in _HAPPENED and not clause.denied and (value := value_of(clause.rest[m.end() :], "free")):
        what = {"major": "studies", "e-mail": "email", "email address": "email", "number": "phone number"}.get(
            m["what"].lower(), m["what"].lower()
        )
        yield state(clause, what, value, m.end() + len(value), polarity="holds", confidence=0.9, single=True)


def _called(clause: Clause) -> Iterator[Statement]:
    m = re.match(r"\s*by\s+(?=(?-i:[A-Z]))", clause.rest, re.IGNORECASE)
    if m and clause.form == "present" and not clause.denied and (value := value_of(clause.rest[m.end() :], "short")):
        yield state(clause, "nickname", value, m.end() + len(value), confidence=0.85)
        return
    m = re.match(rf"\s*(?:(?:fully |completely )*(?={DIETS}\b))", clause.rest, re.IGNORECASE)
    value = value_of(clause.rest[m.end() :], "short") if m else None
    if m and value and clause.form in _HAPPENED and not clause.denied:
        yield state(clause, "diet", _until_time(value), m.end() + len(value), polarity="holds", confidence=0.9)


_READERS: dict[str, Reader] = {
    **dict.fromkeys(("move", "relocate", "emigrate", "immigrate", "settle"), _moved),
    "work": _worked,
    **dict.fromkeys(("start", "begin"), _started),
    "stop": _stopped,
    "give": _gave,
    "take": _took,
    **dict.fromkeys(("quit", "resign"), _quit),
    "leave": _left,
    "get": _got,
    "have": _got,
    **dict.fromkeys(("adopt", "buy", "purchase", "acquire", "rescue"), _acquired),
    **dict.fromkeys(("sell", "lose", "donate", "rehome", "trade"), _parted),
    "join": _joined,
    "retire": _retired,
    "study": _studied,
    "graduate": _graduated,
    "drop": _dropped,
    **dict.fromkeys(("enrol", "enroll"), _enrolled),
    "switch": _switched,
    "change": _changed,
    **dict.fromkeys(("break", "split"), _broke),
    **dict.fromkeys(("marry", "divorce", "separate", "wed"), _married),
    **dict.fromkeys(("become", "turn"), _became),
    **dict.fromkeys(("die", "pass"), _died),
    "recover": _recovered,
    "be": _being,
    "go": _called,
    "accept": _took,
    "land": _took,
}
