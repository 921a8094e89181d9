"""Endings that are told by their cause: a club that dissolved, an offer that was declined, studies that were finished,
a trip that was made; and how somebody takes, walks or works, where the new way ends the old.

`read_ending` reads a clause, `read_event` a sentence without a person for a subject.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from .clauses import Clause
from .statement import Statement, from_third, state
from .values import value_of

Reader = Callable[[Clause], Iterator[Statement]]

_HAPPENED = ("past", "perfect")
_NAME = r"(?-i:[A-ZÀ-ÖØ-Þ][\w'-]+)"
_END = r"(?=\s*(?:$|[.,!;])|\s+(?:and|but|because|since|now|again|these days|every|for|last|this|any\s?more|when)\b)"


def read_ending(clause: Clause) -> list[Statement]:
    """What the clause ends or changes; [] where it tells no such thing."""
    reader = _READERS.get(clause.lemma)
    return list(reader(clause)) if reader else []


def _silent(clause: Clause, attributes: str, value: str | None, upto: int) -> Iterator[Statement]:
    for attribute in attributes.split("|"):
        yield state(clause, attribute, value, upto, polarity="ended", silent=True)


def _happened(clause: Clause) -> bool:
    return clause.form in _HAPPENED and not clause.denied


# How one does a thing: one way at a time

_WAYS = {
    "working hours": (
        "days", "nights", "evenings", "mornings", "weekends", "day shifts", "night shifts", "early shifts",
        "late shifts", "shifts", "the day shift", "the night shift", "the early shift", "the late shift",
    ),
    "works": ("from home", "remotely", "in the office", "from the office", "on site", "hybrid"),
    "working time": ("part-time", "part time", "full-time", "full time"),
}  # fmt: skip
_WORKS = re.compile(
    r"\s*(?:only\s+)?(?:the\s+)?(?P<way>"
    + "|".join(sorted((w for ways in _WAYS.values() for w in ways), key=len, reverse=True))
    + ")"
    r"(?=\s*(?:$|[.,!;]|and\b|now\b|again|these days|at\b|in\b|since|for\b|but\b|because|any\s?more|mostly))",
    re.IGNORECASE,
)
_FOR_ONESELF = re.compile(
    r"\s*(?:for\s+(?:myself|himself|herself|themselves|ourselves)|as\s+a\s+freelancer|on\s+my\s+own\s+account)\b", re.I
)


def _works(clause: Clause) -> Iterator[Statement]:
    if clause.form not in ("present", "ing"):
        return
    if not clause.denied and (m := _FOR_ONESELF.match(clause.rest)):
        told = f"{clause.subject} {'are' if clause.who.plural else 'is'} self-employed"
        yield state(clause, "works at", "self-employed", m.end(), polarity="holds", text=told, confidence=0.9)
    elif m := _WORKS.match(clause.rest):
        attribute = next((name for name, ways in _WAYS.items() if m["way"].lower() in ways), "works")
        yield state(clause, attribute, m["way"], m.end(), confidence=0.85, single=True)


_SERVED = re.compile(
    r"\s*(?:my|his|her|their|our)\s+(?P<what>(?:[a-z-]+\s)?(?:tea|coffee|eggs|steak|toast|espresso|porridge|whisky|"
    r"burgers?|pizza))\s+(?P<how>(?:with(?:out)?\s+[\w' -]{2,40}?|black|white|plain|strong|weak|sweet|unsweetened|rare|"
    r"medium|well[ -]done|poached|scrambled|boiled|fried|iced|neat|straight)(?:\s+and\s+\w+)?)" + _END,
    re.IGNORECASE,
)


def _served(clause: Clause) -> Iterator[Statement]:
    """ "takes her tea with sugar": one way at a time."""
    m = _SERVED.match(clause.rest)
    if m and clause.form == "present" and not clause.negated and not clause.never:
        attribute = f"takes {m['what'].lower()}"
        yield state(clause, attribute, m["how"], m.end(), single=True, confidence=0.85)


_AIDS = r"(?:crutches|(?:a|two|my)\s+(?:cane|stick|walking stick|sticks|walker|rollator|frame|crutch|limp))"


def _walks(clause: Clause) -> Iterator[Statement]:
    m = re.match(rf"\s*(?:only\s+)?(?P<how>with|on|without)\s+(?P<what>{_AIDS}|a\s+limp|them)\b", clause.rest, re.I)
    if m is None or clause.form not in ("present", "ing") or clause.never:
        return
    if m["how"].lower() == "without":
        if m["what"] != "them" and not clause.denied:
            yield state(clause, "uses", m["what"], m.end(), polarity="ended")
    elif m["what"] != "them":
        yield state(clause, "uses", m["what"], m.end())


_NEEDED = re.compile(
    r"\s*(?:to\s+(?:use|wear|take)\s+)?(?:my|the|his|her|their|any|an?)?\s*(?P<what>(?!to\b|it\b|that\b|this\b|you\b|"
    r"him\b|them\b|help\b|time\b|money\b)\w[\w' -]{1,39}?)" + _END,
    re.IGNORECASE,
)


def _needs(clause: Clause) -> Iterator[Statement]:
    """ "no longer needs crutches": what was used, worn or taken."""
    m = _NEEDED.match(clause.rest)
    if m is None or not clause.ceased or clause.form != "present":
        return
    yield state(clause, "uses", m["what"], m.end(), polarity="ended")
    yield from _silent(clause, "wears|takes|has", m["what"], m.end())


# What is parted with, declined or finished


def _gave(clause: Clause) -> Iterator[Statement]:
    """ "gave Kaa to the zoo", "gave up his garden plot"."""
    if not _happened(clause):
        return
    rest = clause.rest
    named = re.match(
        rf"\s*(?P<what>{_NAME})\s+(?:away\b|(?:back\s+)?to\s+(?=(?:the|an?|my|his|her|their|our)\s+(?:\w+\s){{0,3}}?"
        r"(?:zoo|shelter|farm|house|friend|neighbou?r|sister|brother|cousin|aunt|uncle|parents|family|woman|man|couple|"
        rf"breeder|sanctuary|reserve|home|rescue|museum|school)\b|{_NAME}))",
        rest,
    )
    if named and not re.match(r"(?:Her|Him|It|Them|Me|Us|You|Birth|Up|Away)\b", named["what"]):
        upto = named.end("what")
        yield state(clause, "has", named["what"], upto, polarity="ended", confidence=0.85)
        yield from _silent(clause, "owns", named["what"], upto)
    elif (m := re.match(r"\s*up\s+(?:my|our|his|her|their)\s+(?:old\s+)?", rest, re.IGNORECASE)) and (
        value := value_of(rest[m.end() :], "noun")
    ):
        if re.match(r"(?:\w+\s)?(?:hopes?|dreams?|plans?|ideas?|seat|career|search|life|mind|job|position)\b", value):
            return
        upto = m.end() + len(value)
        yield state(clause, "has", value, upto, polarity="ended")
        yield from _silent(clause, "owns|drives|uses|practises|plays|does regularly|member of", value, upto)


def _declined(clause: Clause) -> Iterator[Statement]:
    """ "turned the Vienna job down", "declined the offer from Acme"."""
    if not _happened(clause):
        return
    if clause.lemma == "turn":
        m = re.match(
            r"\s*(?:down\s+(?:the|my|an?|their|his|her)\s+(?P<what>[\w' -]{2,50}?)"
            + _END
            + r"|(?:the|my|their|his|her)\s+(?P<late>[\w' -]{2,50}?)\s+down\b)",
            clause.rest,
            re.IGNORECASE,
        )
    else:
        m = re.match(rf"\s*(?:the|my|an?|their)\s+(?P<what>[\w' -]{{2,50}}?)(?P<late>){_END}", clause.rest, re.I)
    what = (m["what"] or m["late"]) if m else None
    if m and what:
        what = re.sub(r"\b(?:offer|position|role|post|proposal|place|invitation)\b", "", what)
        what = " ".join(re.sub(r"^\s*(?:from|of|for|to|in|at)\s+", "", " ".join(what.split())).split())
        if what and what not in ("request", "idea"):
            yield state(clause, "plans", what, m.end(), polarity="ended", confidence=0.85)


_STUDY = (
    r"(?:(?:\w+\s+)?school|degree|studies|course|training|apprenticeship|ph\.?d|doctorate|master'?s?|bachelor'?s?|"
    r"diploma|thesis|exams?|finals|programme|program|uni|university|college|residency|bootcamp|internship|traineeship)"
)
_FINISHED = re.compile(
    rf"\s*(?:with\s+)?(?:my\s+|the\s+|her\s+|his\s+|their\s+|an?\s+)?(?P<what>(?:(?:final|last|state)\s+)?"
    rf"(?:(?!my\b|the\b)[\w'-]+\s+){{0,3}}?{_STUDY})(?P<in>\s+in\s+[\w ]{{2,30}}?)?{_END}",
    re.IGNORECASE,
)
_GRADES = re.compile(r"^(?:high|middle|primary|elementary|secondary)\s+school|^(?:sc|coding\s)hool", re.IGNORECASE)


def _finished(clause: Clause) -> Iterator[Statement]:
    """ "finished nursing school": nursing is studied no longer."""
    m = _FINISHED.match(clause.rest)
    if m is None or not _happened(clause):
        return
    said = f"{m['what']}{m['in'] or ''}".strip()
    if clause.lemma == "pass" and not re.search(r"\b(?:final|last|state)\b|finals", said):
        return
    subject = said if _GRADES.match(said) else " ".join(re.sub(rf"\b{_STUDY}\b", " ", said, flags=re.I).split())
    subject = re.sub(r"^(?:school|in|my|the)\s+", "", re.sub(r"\b(?:school|final|last|state)\b", "", subject).strip())
    upto = m.end()
    yield state(clause, "did", f"{clause.lemma} {said}", upto, polarity="holds", confidence=0.8)
    yield from _silent(clause, "plans", f"{clause.lemma} {said}", upto)
    value = subject.strip(" '") or None
    for attribute in ("studies", "studies at", "grade"):
        yield from _silent(clause, attribute, value if attribute != "grade" else said, upto)
    if value:  # "nursing school" of "nursing"
        yield from _silent(clause, "is learning", value, upto)


def _proposed(clause: Clause) -> Iterator[Statement]:
    """ "Nikhil proposed on the beach": an engagement, if the message says so (see `engaged_to`)."""
    m = re.match(
        rf"\s*(?:to\s+me\b)?{_END[:-1]}|\s*(?:to\s+me\s+)?(?:on|at|in|during|under|with|over|yesterday|today)\b)",
        clause.rest,
        re.I,
    )
    if m and _happened(clause) and not clause.who.speaker and not clause.who.plural and "'s " not in clause.subject:
        yield state(clause, "did", "propose", len(clause.rest[: m.end()].rstrip()), polarity="holds")


def engaged_to(found: Iterable[Statement], speaker: str) -> list[Statement]:
    """Where somebody proposed and the speaker is engaged, it is to them: the boyfriend has become a fiancé."""
    found = list(found)
    who = {s.subject for s in found if s.attribute == "did" and s.value == "propose"}
    if len(who) != 1 or (mate := who.pop()) is None:
        return found
    for i, s in enumerate(found):
        if s.subject == speaker and s.attribute == "marital status" and s.value == "engaged" and s.polarity == "holds":
            over = replace(s, attribute="partner", value=mate, polarity="ended", silent=True)
            now = replace(s, attribute="partner", value=mate, text=f"{speaker} is engaged to {mate}")
            told = replace(s, value=f"engaged to {mate}")
            return [*found[:i], told, over, now, *found[i + 1 :]]
    return found


_AND_A = re.compile(r",?\s+and\s+(?=an?\s)|,\s+(?=an?\s)")


def listed(statement: Statement) -> list[Statement]:
    """ "a cat called Mora and a cat called Lima" are two cats, one of which may go."""
    value = statement.value or ""
    parts = _AND_A.split(value)
    if statement.attribute not in ("has", "owns", "uses") or len(parts) < 2 or not re.match(r"an?\s", value):
        return [statement]
    if statement.text.count(value) != 1 or any(len(part.split()) < 2 for part in parts):
        return [statement]
    return [replace(statement, value=part, text=statement.text.replace(value, part)) for part in parts]


# What turned out to have happened

_VERDICT = (
    r"(?:(?:absolutely|really|so|just|truly|simply|very|pretty|totally|utterly|a\s+bit|quite|such|everything|all)\s+)*"
    r"(?:an?\s+)?(?:unreal|amazing|great|fantastic|wonderful|beautiful|incredible|lovely|awesome|stunning|magical|"
    r"brilliant|superb|perfect|gorgeous|fun|breathtaking|unforgettable|epic|cold|hot|freezing|wet|rainy|exhausting|"
    r"disappointing|awful|terrible|ok(?:ay)?|nice|good|busy|crowded|worth\s+it|success|dream|blast|delight|hit|"
    r"disaster|spectacular|delicious|relaxing|intense|tough|hard|everything|mesmeri[sz]ing|wild|out\s+of\s+"
    r"this\s+world)\b"
)
_LONG_AGO = re.compile(
    r"\b(?:last\s+(?:time|year)|years?\s+ago|when\s+i|back\s+then|in\s+(?:19|20)\d\d|as\s+a)\b", re.I
)


def _was(clause: Clause) -> Iterator[Statement]:
    """ "Iceland was unreal": whoever planned to go has been."""
    if clause.form != "past" or clause.denied or clause.who.speaker or clause.who.plural or not clause.owner:
        return
    if not re.fullmatch(rf"{_NAME}(?:\s{_NAME})?", clause.subject) or _LONG_AGO.search(clause.rest[:200]):
        return
    if m := re.match(rf"\s*{_VERDICT}", clause.rest, re.IGNORECASE):
        told = f"{clause.subject} was {m[0].strip()}"
        yield state(
            clause, "plans", clause.subject, m.end(), polarity="ended", silent=True, subject=clause.owner, text=told
        )


def _back_from(clause: Clause) -> Iterator[Statement]:
    m = re.match(
        rf"\s*(?:just\s+|safely\s+)*back\s+(?:home\s+)?from\s+(?:my\s+|our\s+|the\s+)?(?P<what>[\w' -]{{2,40}}?){_END}",
        clause.rest,
        re.I,
    )
    if m and not clause.denied and clause.form in ("present", "past", "perfect"):
        what = m["what"]
        if re.match(r"(?:work|lunch|dinner|school|a\s+(?:walk|run|meeting)|leave|break|bed|dead)\b", what, re.I):
            return
        yield state(
            clause, "did", f"go to {what}", m.end(), polarity="holds", confidence=0.75, told=f"back from {what}"
        )
        yield from _silent(clause, "plans", what, m.end())


_ON_SHIFT = re.compile(
    r"\s*(?:now\s+|back\s+)?on\s+(?P<way>(?:the\s+)?(?:day|night|early|late|morning|evening)\s+shifts?|nights|days)"
    + _END,
    re.IGNORECASE,
)


def _be(clause: Clause) -> Iterator[Statement]:
    yield from _was(clause)
    yield from _back_from(clause)
    if clause.form == "present" and (m := _ON_SHIFT.match(clause.rest)):
        yield state(clause, "working hours", m["way"], m.end(), single=True)
    if clause.form == "present" and (
        m := re.match(
            r"\s*(?:now\s+|currently\s+|already\s+)?(?P<how>in|at)\s+(?P<what>college|university|uni|"
            r"grad(?:uate)?\s+school|"
            r"med(?:ical)?\s+school|law\s+school)\b(?!\s+(?:of|in)\s+[A-Z])",
            clause.rest,
            re.I,
        )
    ):
        yield state(clause, "grade", m["what"].lower(), m.end(), single=True)


_READERS: dict[str, Reader] = {
    "work": _works,
    **dict.fromkeys(("take", "drink", "like", "have", "eat", "want"), _served),
    "walk": _walks,
    "need": _needs,
    "give": _gave,
    **dict.fromkeys(("decline", "reject", "refuse", "turn"), _declined),
    **dict.fromkeys(("finish", "complete", "pass"), _finished),
    "propose": _proposed,
    "be": _be,
    "get": _back_from,
    "come": _back_from,
}


# Sentences about things

_GROUP = re.compile(
    r"\s*(?:(?:so|and|but|well|sadly|unfortunately),?\s+)*(?P<whose>the|my|our|(?-i:[A-Z]\w+)'s)\s+"
    r"(?P<what>[\w-]+(?:\s+(?!has\b|"
    r"have\b|is\b|was\b|got\b|will\b|had\b)[\w-]+){0,4})\s+(?:(?:has|have|had|just|finally|now|sadly|been|was|"
    r"got|is|are)\s+)*"
    r"(?:dissolved|disbanded|folded|wound\s+up|shut\s+down|closed(?:\s+down|\s+for\s+good|\s+its\s+doors)?|ended|"
    r"discontinued|fell\s+apart|fallen\s+apart|stopped\s+(?:meeting|running)|no\s+longer\s+(?:meets|exists|"
    r"runs|happens|"
    r"takes\s+place)|doesn't\s+(?:meet|exist|run|happen)\s+any\s?more|came\s+to\s+an\s+end|is\s+over|"
    r"over\s+for\s+good)\b"
    r"(?!\s+(?:at\s+\d|until|on\s+\w+days?\b|early|late|for\s+(?:lunch|the\s+day|today)|the\s+deal|in\s+a|with))",
    re.IGNORECASE,
)
_TRIP_WAS = re.compile(
    r"\s*(?:(?:so|and|but|well|oh|wow),?\s+)*(?:the|my|our)\s+(?P<what>(?:[\w-]+\s+){0,2}?(?:trip|holiday|"
    r"vacation|visit|"
    r"week(?:end)?|wedding|concert|marathon|race|party|conference|festival|tour|cruise|honeymoon|hike|retreat|show|gig|"
    rf"exhibition|exam|surgery|operation|interview)(?:\s+(?:to|in|at|of)\s+{_NAME}(?:\s{_NAME})?)?)\s+"
    rf"(?:was\s+{_VERDICT}|went\s+(?:really\s+|very\s+|so\s+)?(?:well|great|fine|smoothly|ok|okay|badly)\b)",
    re.IGNORECASE,
)
_HAD_TIME = re.compile(
    rf"\s*(?:we|i)\s+had\s+(?:{_VERDICT}|the\s+best)\s+(?:time|week|weekend|days|trip|holiday|vacation)\s+"
    rf"(?:in|at)\s+(?:the\s+)?"
    rf"(?P<what>{_NAME}(?:\s{_NAME})?)",
    re.IGNORECASE,
)
_NORMAL = re.compile(
    r"\s*(?:(?:so|and|but|good\s+news),?:?\s+)*(?:my\s+(?P<kin>[\w-]+)'s\s+|(?P<mine>my)\s+|"
    r"(?P<name>(?-i:[A-Z]\w+))'s\s+)"
    r"(?P<what>blood\s+pressure|cholesterol|blood\s+sugar|sugar|iron|thyroid|heart\s+rate|weight|sleep|"
    r"hearing|eyesight|"
    r"vitamin\s+\w+)(?:\s+levels?)?\s+(?:is|are|has\s+been|'s)\s+(?:(?:now|finally|back|to|completely|been|all)\s+)*"
    r"(?:normal|fine|under\s+control|in\s+the\s+normal\s+range|healthy|good)\b",
    re.IGNORECASE,
)
_AGAIN_FAVOURITE = re.compile(
    r"\s*(?:(?:so|and|but|well|now),?\s+)*(?:i'm|i\s+am|we're|i\s+went|i've\s+gone|i\s+have\s+gone|it\s+is|"
    r"it's)?\s*(?:now\s+)?back\s+to\s+"
    r"(?P<value>(?!(?:it|that|this|work|school|normal|bed|being)\b)[\w' -]{2,40}?)(?:,|\s+[–-]|\s+and|\s+"
    r"now,?)\s+(?:it's|it\s+is|that's|"
    r"that\s+is|which\s+is|as)\s+(?:now\s+|once\s+(?:more|again)\s+|again\s+)?my\s+favou?rite(?:\s+"
    r"(?P<what>(?!again\b|now\b)[\w-]+))?",
    re.IGNORECASE,
)
_SCHEDULE = re.compile(
    r"\s*(?:(?:so|and|but|well|actually),?\s+)*(?P<whose>the|my|our)\s+(?P<what>(?:[\w-]+\s+"
    r"){0,3}?[\w-]+)\s+(?P<verb>leaves|departs|"
    r"arrives|lands|takes\s+off|boards|opens|closes|ends|finishes)\s+(?:now\s+|actually\s+"
    r")?(?:(?P<when>at\s+(?:\d{1,2}(?:[:.]\d\d)?\s?(?:[ap]\.?m\b)?|"
    r"noon|midnight|(?:half|quarter)\s+\w+\s+\w+))|from\s+(?P<gate>(?:platform|gate|track|terminal)\s+\w+))",
    re.IGNORECASE,
)
_MOMENTS = {
    "leaves": "departure time", "departs": "departure time", "takes off": "departure time", "boards": "boarding time",
    "arrives": "arrival time", "lands": "arrival time", "opens": "opening time", "closes": "closing time",
    "ends": "end time", "finishes": "end time",
}  # fmt: skip


def read_event(plain: str, start: int, end: int, speaker: str) -> list[Statement]:
    """Sentences about things: "The book club has dissolved", "My train leaves at 9:45", "The trip was wonderful"."""
    if m := _GROUP.match(plain, start, end):
        if re.match(r"(?:war|film|movie|book|day|week|meeting|call|game|match|story|class\s+today)$", m["what"], re.I):
            return []
        owner = m["whose"][:-2] if m["whose"].endswith("'s") else speaker
        text = from_third(" ".join(m[0].split()), speaker)
        text = text[:1].upper() + text[1:]
        base = Statement(text, owner, "does regularly", m["what"], m.start(), m.end(), 0.85, "ended")
        others = ("plans", "member of", "practises", "works at", "runs", "plays", "studies at", "volunteers at")
        return [base, *(replace(base, attribute=other, silent=True) for other in others)]
    if m := _SCHEDULE.match(plain, start, end):
        verb = " ".join(m["verb"].lower().split())
        value = re.sub(r"^at\s+", "", m["when"] or m["gate"])
        attribute = _MOMENTS[verb] if m["when"] else re.split(r"\s", m["gate"])[0].lower()
        text = from_third(" ".join(m[0].split()), speaker)
        subject = f"the {m['what'].lower()}"
        return [
            Statement(
                text[:1].upper() + text[1:],
                subject,
                attribute,
                value,
                m.start(),
                m.end(),
                0.85,
                single=True,
                timeless=True,
            )
        ]
    if (m := _TRIP_WAS.match(plain, start, end) or _HAD_TIME.match(plain, start, end)) and not _LONG_AGO.search(
        plain, start, end
    ):
        text = from_third(" ".join(m[0].split()), speaker)
        return [Statement(text, speaker, "plans", m["what"], m.start(), m.start(), 0.85, "ended", silent=True)]
    if m := _NORMAL.match(plain, start, end):
        owner = m["name"] or (f"{speaker}'s {m['kin'].lower()}" if m["kin"] else speaker)
        text = f"{owner}'s {m['what'].lower()} is normal"
        return [Statement(text, owner, "suffers from", m["what"].lower(), m.start(), m.end(), 0.85, "ended")]
    if m := _AGAIN_FAVOURITE.match(plain, start, end):
        what = m["what"]
        if what is None:
            return []
        value = m["value"].strip()
        text = f"{speaker}'s favourite {what.lower()} is {value}"
        return [Statement(text, speaker, f"favourite {what.lower()}", value, m.start(), m.end(), 0.85)]
    return []


__all__ = ["engaged_to", "listed", "read_ending", "read_event"]
