"""What belongs to the speaker: "my favourite tea is sencha", "my new e-mail is ...", "my cat's name is Tom"."""

from __future__ import annotations

import re

from .statement import Statement, from_third
from .values import value_of
from .vocabulary import KIN, NATIONALITIES, OCCUPATIONS, PETS, VEHICLES

_IS = (
    r"(?P<verb>\s+is\s+now|\s+is|\s+are|'s|\s+(?:just\s+|recently\s+)?changed\s+to|"
    r"\s+has\s+changed\s+to|\s+will\s+be|\s+was)\s+(?:now\s+|actually\s+|still\s+)?"
)
_FAVOURITE = re.compile(
    (
        rf"(?:(?:absolute|all-time|personal|new|current)\s+)*favou?rite (?P<what>[\w'-]+(?: (?!is\b|are\b|"
        rf"was\b)[\w'-]+){{0,2}}?){_IS}"
    ),
    re.IGNORECASE,
)
_PLAIN = re.compile(
    r"(?:(?:new|current|full|correct|actual|personal|main|biggest|big|ultimate)\s+)*(?:(?P<where>home|"
    r"work|office|old)\s+)?"
    r"(?P<what>(?:first |last |middle |real |maiden )?name|birthday|hometown|home town|"
    r"home(?=\s+is\s+in\b)|job(?: title)?|profession|occupation|"
    r"employer|company|boss|manager|hobb(?:y|ies)|dream|goal|passion|dream job|nickname|address|e-?mail(?: address)?|"
    r"(?:phone |mobile |cell |telephone )?number|phone(?=\s+is\s+\+?\d)|zodiac sign|star sign|"
    r"native language|mother tongue|nationality|religion|"
    r"blood type|shoe size|major|degree|pronouns|time ?zone|wife|husband|partner|girlfriend|boyfriend|"
    r"spouse|fianc[eé]e?"
    rf"|{VEHICLES}){_IS}",
    re.IGNORECASE,
)
_KIN_NAME = re.compile(
    rf"(?P<kin>(?:[\w-]+ )?(?:{KIN}|{PETS})s'? names?) (?P<verb>is|are|was|were) (?:actually |now )?(?=(?-i:[A-Z]))",
    re.IGNORECASE,
)
_WHO = re.compile(
    r"(?:new\s+|current\s+)?(?P<what>dentist|doctor|gp|therapist|landlord|landlady|hairdresser|lawyer|accountant|vet|coach|"
    r"trainer|supervisor|tutor|piano teacher|teacher|personal trainer|plumber|mechanic|midwife|"
    r"cleaner|babysitter|nanny|"
    r"physio(?:therapist)?|barber)(?:\s+is|'s|\s+is\s+now|\s+will\s+be)\s+(?:now\s+)?(?:called\s+|named\s+)?"
    r"(?P<name>(?-i:(?:(?:Dr|Mr|Mrs|Ms|Prof)\.?\s)?[A-Z][\w'-]+(?:\s[A-Z][\w'-]+)?))(?=\s*(?:$|"
    r"[.,!;]|now\b|these days))",
    re.IGNORECASE,
)
# "My blue bike was stolen": it is had no longer.
_LOST = re.compile(
    rf"(?P<what>(?:(?!is\b|was\b|has\b|got\b)[\w-]+\s+){{0,2}}?(?!{KIN}\b)[\w-]+)\s+(?:(?:was|were|got|"
    rf"has been|is)\s+(?:just\s+)?(?:stolen|gone|destroyed|totalled|scrapped|sold|dead|lost)|"
    r"broke down for good|drowned|burned down|died|ran away|went missing)\b",
    re.IGNORECASE,
)
_HOME = re.compile(
    rf"(?:(?:new|current|little|tiny)\s+)*(?:flat|apartment|house|home|place){_IS}in\s+(?=(?-i:[A-Z]))", re.IGNORECASE
)
_NO_VALUE = re.compile(
    r"(?:when|very|so|really|always|the best|to be honest|going|coming|over|done|great|amazing|awesome|"
    r"safe|full|killing|"
    r"to die|boring|hard|stressful|fun|busy|here|there|too|just|being|getting|also|a bit|in the|broken|"
    r"in the shop|wonderful|lovely|supportive|"
    r"good|bad|not|n't|out|home|away|sick|ill|pregnant|asleep|beautiful|coming)\b",
    re.IGNORECASE,
)
_CANONICAL = {
    name: attribute
    for attribute, names in {
        "email": ("e-mail", "e-mail address", "email address"),
        "phone number": ("number", "phone", "mobile number", "cell number", "telephone number"),
        "hometown": ("home town",),
        "time zone": ("timezone",),
        "practises": ("hobby", "hobbies"),
        "studies": ("major",),
        "works at": ("employer", "company"),
        "boss": ("manager",),
        "partner": ("wife", "husband", "girlfriend", "boyfriend", "spouse", "fiance", "fiancee", "fiancé", "fiancée"),
        "lives in": ("home",),
        "works as": ("job", "job title", "profession", "occupation"),
    }.items()
    for name in names
}
_DATA = re.compile(r"(?:\w+ )?(?:email|phone number|address)")


def read_my(
    body: str, start: int, body_start: int, speaker: str, *, speaker_names_self: bool = False
) -> Statement | None:
    """The statement in "my " + body; None where it is none. start, body_start: places in the message."""
    if m := _FAVOURITE.match(body):
        what = m["what"].lower()
        return _own(body, m, start, body_start, speaker, f"favourite {what}", "noun", 0.9, shown=f"favourite {what}")
    if (m := _WHO.match(body)) and not re.match(NATIONALITIES, m["name"]):
        attribute, end = m["what"].lower(), body_start + m.end()
        text = f"{speaker}'s {m[0].strip()}"
        return Statement(text, speaker, attribute, m["name"], start, end, 0.85, single=True)
    if m := _KIN_NAME.match(body):
        return _own(
            body, m, start, body_start, speaker, m["kin"].lower(), "short", 0.95, single=not m["kin"].endswith("s")
        )
    if m := _LOST.match(body):
        value = m["what"]
        text = from_third(f"{speaker}'s {m[0].strip()}", speaker)
        return Statement(text, speaker, "owns", value, start, body_start + m.end(), 0.85, "ended")
    if m := _HOME.match(body):
        return _own(body, m, start, body_start, speaker, "lives in", "place", 0.85)
    m = _PLAIN.match(body)
    if m is None:
        return None
    what = " ".join(m["what"].lower().split())
    if re.fullmatch(VEHICLES, what):
        if not re.match(r"(?:an?\s|(?-i:[A-Z]))", body[m.end() :]):
            return None
        return _own(body, m, start, body_start, speaker, "drives", "noun", 0.85, ended=m["verb"].strip() == "was")
    attribute = _CANONICAL.get(what, what)
    if m["where"]:
        attribute = f"{m['where'].lower()} {attribute}"
    if attribute == "works as" and (at := re.match(r"(?:at|with|for)\s+(?:an?\s+|the\s+)?", body[m.end() :])):
        return _own(body, m, start, body_start, speaker, "works at", "noun", 0.85, skip=at.end())
    if attribute == "lives in":
        inside = re.compile(r"in\s+").match(body, m.end())
        return _own(
            body, m, start, body_start, speaker, attribute, "place", 0.9, skip=inside.end() - m.end() if inside else 0
        )
    if attribute in ("partner", "boss") and not re.match(r"(?:called |named )?(?-i:[A-Z])", body[m.end() :]):
        return None
    if attribute == "works as" and not re.search(
        rf"\b(?:{OCCUPATIONS}|manager|engineer|\w+(?:ist|er|or|ing))\b", body[m.end() :][:60], re.IGNORECASE
    ):
        attribute = "job"
    check = "free" if _DATA.fullmatch(attribute) or attribute == "birthday" else "noun"
    return _own(body, m, start, body_start, speaker, attribute, check, 0.85)


def _own(
    body: str,
    m: re.Match[str],
    start: int,
    body_start: int,
    speaker: str,
    attribute: str,
    check: str,
    confidence: float,
    *,
    shown: str | None = None,
    single: bool | None = None,
    ended: bool = False,
    skip: int = 0,
) -> Statement | None:
    rest = body[m.end() + skip :]
    value = _datum(rest) if _DATA.fullmatch(attribute) else value_of(rest, check)
    negated = re.match(r"not\s+", value or "")
    if not value or (_NO_VALUE.match(value) and not negated):
        return None
    if attribute == "name" and value.lower() == speaker.lower():
        return None  # "Alex's name is Alex"
    end = body_start + m.end() + skip + len(value)
    said = re.sub(r"\s+", " ", body[: m.end() + skip]).strip()
    said = re.sub(r"'s$", " is", said)
    text = from_third(f"{speaker}'s {said} {value}", speaker)
    if negated:
        value = value[negated.end() :]
    if attribute == "birthday":
        value = re.sub(r"^on\s+", "", value)
    if attribute == "partner":
        value = re.sub(r"^(?:called|named)\s+", "", value)
    over = ended or m["verb"].strip() == "was"
    return Statement(
        text,
        speaker,
        attribute,
        re.sub(r"^(?:an?|the)\s+", "", from_third(value, speaker))
        if attribute == "works as"
        else from_third(value, speaker),
        start,
        end,
        confidence,
        "ended" if negated or over else "holds",
        single=single,
        timeless=attribute in ("birthday",),
    )


def _datum(rest: str) -> str | None:
    """An address or number, with the points, dashes and at-signs in it."""
    m = re.match(r"[^\s;!?()]+(?:\s[^\s;!?()]+){0,9}", rest)
    if m is None:
        return None
    value = re.split(
        r"\s+(?:and|but|so|now|if|in case|not)\b|,\s+(?:not|and|but|so|instead|no longer|my|the|his|her|i|it)\b|\.\s",
        m[0],
        maxsplit=1,
    )[0]
    value = value.rstrip(" .,")
    return value if re.search(r"[\d@]", value) else None
