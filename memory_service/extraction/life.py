"""What happens in a life and ends what was: births, recoveries, medicine that changed, things replaced, couples
that part or come back together, habits that stop.

Clauses are read by their verb (`read_life`), "my ..." by `read_my_life`, sentences without a person for a subject
("The cast came off") by `read_happening`. `with_implied` adds what a statement ends under other attributes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from .changes import employed
from .clauses import Clause, as_present
from .predicates import marriage, read_state
from .statement import Statement, from_third, state
from .types import Polarity
from .values import value_of
from .vocabulary import CONDITIONS, COUNT_WORD, DRINKS, HABITS, KIN, PETS, THINGS, VEHICLES, words

Reader = Callable[[Clause], Iterator[Statement]]

_HAPPENED = ("past", "perfect")
_NAME = r"(?-i:[A-ZÀ-ÖØ-Þ][\w'-]+)"
_WHEN_SHORT = (
    r"(?:\s+(?:yesterday|today|this (?:morning|week|month)|last (?:night|week|month|\w+day)|on \w+day|just now|"
    r"in \w+|\w+ (?:days?|weeks?) ago))?"
)
_BABY = (
    r"(?:(?:her|their|the|our|my|his|an?|another)\s+)?(?:(?:first|second|third|fourth|healthy|beautiful|little|lovely|"
    r"tiny|wonderful|perfect|new|identical)\s+)*(?P<kind>baby(?:\s(?:boy|girl|son|daughter))?|(?:little\s)?boy|"
    r"(?:little\s)?girl|son|daughter|twins|twin\s(?:boys|girls)|triplets|child)\b"
)
_CALLED = (
    rf"{_WHEN_SHORT}(?:\s*[,:–-]?\s*(?:and\s+)?(?:(?:we|they|she|he|i)\s+)?(?:an?\s+|our\s+|her\s+)?(?:(?:little|"
    rf"healthy|beautiful)\s+)*(?:(?:baby\s+)?(?:boy|girl|son|daughter)\b)?\s*,?\s*(?:(?:called|named|(?:his|her|their)\s+names?\s+(?:is|are)|by\s+the\s+name\s+"
    rf"of)\s+(?:(?:him|her|them|it)\s+)?)?(?P<name>{_NAME}(?:\s+and\s+{_NAME})?)(?!\s+[a-z]+ed\b))?"
)
_NO_NAMES = re.compile(
    r"(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day|January|February|March|April|May|June|July|August|September|"
    r"October|November|December|Christmas|Easter|I$"
)
_MATES = ("wife", "partner", "girlfriend", "fiancée")


def read_life(clause: Clause) -> list[Statement]:
    """What the clause tells of; [] where it tells no such thing."""
    reader = _READERS.get(clause.lemma)
    return list(reader(clause)) if reader else []


def _silent(clause: Clause, attributes: str, value: str | None, upto: int) -> Iterator[Statement]:
    for attribute in attributes.split("|"):
        yield state(clause, attribute, value, upto, polarity="ended", silent=True)


# Births


def _birth(clause: Clause, parent: str, child: str, upto: int) -> Iterator[Statement]:
    yield state(clause, "child", child, upto, polarity="holds", subject=parent, confidence=0.9)
    parents = [parent, *(f"{parent}'s {mate}" for mate in _MATES if parent == clause.owner)]
    for one in parents:
        for attribute, value in (("is", "pregnant"), ("expects a child", None), ("plans", "baby")):
            yield state(clause, attribute, value, upto, polarity="ended", silent=True, subject=one)


def _born(clause: Clause, m: re.Match[str]) -> Iterator[Statement]:
    name = m["name"] if m["name"] and not _NO_NAMES.match(m["name"]) else None
    upto = m.end() if name or not m["name"] else m.start("name")
    upto = len(clause.rest[:upto].rstrip(" ,:–-"))
    yield from _birth(clause, clause.subject, name or m["kind"], upto)


_HAD_BABY = re.compile(rf"\s*{_BABY}(?!\s*(?:shower|party|name|clothes|brother|sister|'s)\b){_CALLED}", re.IGNORECASE)
_BIRTH_TO = re.compile(rf"\s*birth\b(?:{_WHEN_SHORT}\s+to\s+{_BABY}{_CALLED}|{_WHEN_SHORT}(?!\s+to))", re.IGNORECASE)


def _had(clause: Clause) -> Iterator[Statement]:
    if clause.form in _HAPPENED and not clause.denied and (m := _HAD_BABY.match(clause.rest)):
        if re.match(r"\s*(?:in|for|with|who|on board|as)\b", clause.rest[m.end() :]) and not m["name"]:
            return
        yield from _born(clause, m)
    elif clause.form in _HAPPENED:
        yield from _birthday(clause)
        yield from _put_down(clause)
    elif clause.form in ("present",) and not clause.denied:
        if "number" in clause.rest or "mail" in clause.rest or "address" in clause.rest:
            yield from _new_number(clause)
        yield from _has_mate(clause)
        yield from _has_named(clause)
        yield from _has_left(clause)


def _gave_birth(clause: Clause) -> Iterator[Statement]:
    if clause.form not in _HAPPENED or clause.denied:
        return
    if m := _BIRTH_TO.match(clause.rest):
        if m["kind"]:
            yield from _born(clause, m)
        else:
            yield from _birth(clause, clause.subject, "baby", m.end())
    elif m := re.match(
        rf"\s*(?:{_NAME}|(?:my|our)\s+(?:{KIN}|friend)|(?:him|her|them))\s+(?:my|our)\s+(?:old\s+)?", clause.rest
    ):
        value = value_of(clause.rest[m.end() :], "noun")
        if value:
            yield state(clause, "owns", value, m.end() + len(value), polarity="ended", confidence=0.85)
    elif m := re.match(
        r"\s*(?:up\s+on|up)\s+(?:my\s+|our\s+|the\s+)?(?:plan|idea|dream|hope)s?\s+(?:of|to)\s+", clause.rest
    ):
        yield from _plan_over(clause, m.end())
    elif m := re.match(
        rf"\s*(?:away\s+)?(?:one|two)\s+of\s+(?:my|our|the)\s+(?P<some>(?:{COUNT_WORD}\s+)?(?:[\w-]+\s+)?{PETS})\b",
        clause.rest,
        re.IGNORECASE,
    ):
        value = value_of(clause.rest, "free") or m[0]
        yield state(clause, "did", f"give {value}", len(value), polarity="holds")
        yield from _silent(clause, "has|owns", m["some"], len(value))


_CHILD = re.compile(
    r"(?P<owner>.+)'s (?:\w+ )*?(?P<kind>baby(?: girl| boy)?|son|daughter|twins|child|"
    r"granddaughter|grandson|niece|nephew)"
    r"(?: (?P<name>[A-ZÀ-ÖØ-Þ]\w+))?"
)


def _arrived(clause: Clause, begin: int) -> Iterator[Statement]:
    """ "Our daughter Nour was born", "our baby is here"."""
    m = _CHILD.fullmatch(clause.subject)
    if m is None or m["kind"] in ("granddaughter", "grandson", "niece", "nephew"):
        return
    name = m["name"]
    if name is None and (called := re.match(rf"[^.!?]*?\b(?:called|named)\s+(?P<name>{_NAME})", clause.rest)):
        name = called["name"]
    yield from _birth(clause, m["owner"], name or m["kind"], begin)


# Couples


_MATE_WORD = r"(?:boyfriend|girlfriend|partner|husband|wife|fianc[eé]e?)"
_HAVE_MATE = re.compile(
    rf"\s*(?:got\s+)?an?\s+(?:new\s+|lovely\s+|great\s+)?{_MATE_WORD}\b(?:\s+now)?(?:,?\s+(?:called|named)\s+|,?\s+"
    rf"(?:and\s+)?(?:his|her|their)\s+name\s+is\s+|,\s+)?(?P<name>{_NAME})?",
    re.IGNORECASE,
)


def _has_mate(clause: Clause) -> Iterator[Statement]:
    m = _HAVE_MATE.match(clause.rest)
    if m is None:
        return
    upto = len(clause.rest[: m.end()].rstrip(" ,"))
    yield from _silent(clause, "marital status", "single", upto)
    if m["name"]:
        yield state(clause, "partner", m["name"], upto, confidence=0.9)
    else:
        yield state(clause, "has", re.sub(r"\s+now$", "", m[0].strip(" ,")), upto, confidence=0.9)


_NAMED_ONES = re.compile(
    rf"\s*(?P<count>{COUNT_WORD}|\d)\s+(?P<what>(?:[\w-]+\s+)?(?:{PETS}|{KIN}|(?:best )?friends))\b(?:,|:|\s+[–-]|,?\s+"
    rf"(?:called|named))\s+(?P<names>{_NAME}(?:,\s+{_NAME})*,?\s+(?:and|&)\s+{_NAME})(?!\s*(?:and|,)\s*{_NAME})",
    re.IGNORECASE,
)


def _has_named(clause: Clause) -> Iterator[Statement]:
    """ "two goats, Heidi and Pepper" are two goats, one of which may go."""
    m = _NAMED_ONES.match(clause.rest)
    if m is None:
        return
    what = _singular(m["what"])
    article = "an" if what[0].lower() in "aeiou" else "a"
    for name in re.split(r",?\s+(?:and|&)\s+|,\s+", m["names"]):
        told = f"{clause.subject} has {article} {what} named {name}"
        yield state(clause, "has", f"{what} {name}", m.end(), text=told, confidence=0.9)


def _singular(noun: str) -> str:
    for plural, one in (
        ("children", "child"),
        ("puppies", "puppy"),
        ("kitties", "kitty"),
        ("bunnies", "bunny"),
        ("ponies", "pony"),
        ("fish", "fish"),
        ("sheep", "sheep"),
        ("budgies", "budgie"),
    ):
        if noun.endswith(plural):
            return noun[: -len(plural)] + one
    return noun[:-1] if noun.endswith("s") else noun


_HAVE_COUNT = re.compile(
    rf"\s*(?:only\s+)?(?P<count>{COUNT_WORD}|\d+)\s+(?P<what>(?:[\w-]+\s+)?(?:{PETS}|{KIN}))\s+"
    r"(?:now|left|at the moment|these days)\b",
    re.IGNORECASE,
)


def _has_left(clause: Clause) -> Iterator[Statement]:
    """ "We have two goats now": how many it was before is over."""
    if m := _HAVE_COUNT.match(clause.rest):
        yield from _silent(clause, "has", m["what"], m.end())
        yield state(clause, "has", f"{m['count']} {m['what']}", m.end(), confidence=0.9)


def _together(clause: Clause, begin: int, mate: str | None) -> Iterator[Statement]:
    m = re.match(rf"\s*with\s+(?:my\s+ex,?\s+)?(?P<mate>{_NAME})", clause.rest[begin:])
    mate = m["mate"] if m else mate
    upto = begin + (m.end() if m else 0)
    pair = clause.who.pair
    for i, person in enumerate(pair or (clause.subject,)):
        other = pair[1 - i] if pair else mate
        if other is None:
            continue
        text = f"{person} {'got' if clause.lemma == 'get' else 'is'} back together with {other}"
        yield state(clause, "partner", other, upto, polarity="holds", subject=person, text=text, confidence=0.9)


def _proposed(clause: Clause) -> Iterator[Statement]:
    m = re.match(
        rf"\s*(?:to\s+(?P<who>{_NAME}|me)\b)?[^.!?]*?\band\s+(?:she|he|they|i|we)\s+said\s+yes\b",
        clause.rest,
        re.IGNORECASE,
    )
    if m is None or clause.form not in _HAPPENED or clause.denied:
        return
    if clause.who.speaker and m["who"] and m["who"] != "me":
        yield from marriage(clause, "engaged", m["who"], m.end())
    elif not clause.who.speaker and m["who"] in (None, "me") and "'s " not in clause.subject and clause.owner:
        told = f"{clause.owner} is engaged to {clause.subject}"
        owner = clause.owner
        yield state(
            clause,
            "marital status",
            f"engaged to {clause.subject}",
            m.end(),
            subject=owner,
            polarity="holds",
            text=told,
        )
        told = f"{owner}'s partner is {clause.subject}"
        yield state(clause, "partner", clause.subject, m.end(), subject=owner, polarity="holds", text=told)


def _seeing(clause: Clause) -> Iterator[Statement]:
    m = re.match(
        rf"\s*(?:someone(?:\s+new)?[,:]?\s+(?:(?:called|named|(?:his|her)\s+name\s+is)\s+)?)?(?P<name>{_NAME})"
        r"(?=\s*(?:now\b|these days|$|[.!,]|for\s+\w+\s+(?:weeks|months|years)|since\b))",
        clause.rest,
    )
    if m and clause.form == "ing" and not _NO_NAMES.match(m["name"]):
        yield state(clause, "partner", m["name"], m.end(), confidence=0.8)


# Health


_BODY = words(
    """
    arm leg ankle wrist foot knee back shoulder hand finger thumb toe hip elbow neck nose rib ribs collarbone jaw tooth
    eye ear hamstring tendon ligament heel hips knees shoulders lungs? throat skin concussion
    """
)
_ILLNESS = (
    rf"(?:{CONDITIONS}|flu|cold|fever|covid(?:-19)?|pneumonia|bronchitis|infection|cough|rash|injury|fracture|sprain|"
    r"break|burnout|illness|sinusitis|tonsillitis|appendicitis|shingles|mono|headaches?|nausea|allerg(?:y|ies)|"
    r"stomach bug|pain|ulcers?|sciatica|virus)"
)
_ACUTE = (
    "broken",
    "fractured",
    "sprained",
    "torn",
    "twisted",
    "slipped",
    "pulled",
    "flu",
    "cold",
    "fever",
    "covid",
    "pneumonia",
    "bronchitis",
    "infection",
    "cough",
)
_BROKEN = _ACUTE[:7]
_WELL = (
    r"(?:(?:has|have|is|are|'s|'ve|was|got|feels?)\s+)?(?:(?:finally|now|completely|fully|totally|all|pretty much|"
    r"already|officially|much|just|been)\s+)*(?:healed|mended|recovered|cured|cleared(?:\s+up)?|gone(?!\s+to\b)|"
    r"better|back\s+to\s+normal|fine\s+(?:again|now)|good\s+as\s+new|ok(?:ay)?\s+(?:again|now)|well\s+again|over|"
    r"went\s+away|no\s+longer\s+(?:hurts?|broken|sore|bothers?\s+me|sprained)|stopped\s+(?:hurting|bothering\s+me)|"
    r"(?:doesn't|does\s+not)\s+hurt\s+any\s?more|(?:isn't|is\s+not)\s+(?:broken|sore)\s+any\s?more|healed\s+up)\b"
)
_MY_WELL = re.compile(
    rf"(?P<what>(?:(?!is\b|has\b|was\b)[\w-]+\s+){{0,3}}?(?:{_BODY}|{_ILLNESS}))\s*(?P<well>{_WELL})(?!\s+than\b)",
    re.IGNORECASE,
)
_CAST = re.compile(
    r"(?:(?P<whose>my|the|his|her|our|(?-i:[A-Z]\w+)'s)\s+)?(?P<what>cast|plaster|boot|crutches|sling|brace|splint)\s+"
    r"(?:is|are|came|comes|has\s+come|have\s+come|got|was|were)\s+(?:finally\s+|now\s+)?(?:taken\s+)?(?:off|gone|removed)"
    r"\b(?!\s+(?:next|tomorrow|in\b|on\b))",
    re.IGNORECASE,
)


def _ended_illness(clause: Clause, value: str, upto: int) -> Iterator[Statement]:
    yield state(clause, "suffers from", value, upto, polarity="ended", confidence=0.9)
    if m := re.match(r"(?P<what>[\w -]+?)\s+allerg", value):
        yield from _silent(clause, "is allergic to", m["what"], upto)


def _recovered(clause: Clause) -> Iterator[Statement]:
    m = re.match(r"\s*(?:fully|completely|now|just)?\s*(?=[.,!;]|$|and\b|now\b|again\b)", clause.rest, re.IGNORECASE)
    if m and clause.form in _HAPPENED and not clause.denied and clause.lemma in ("recover", "heal"):
        yield state(clause, "did", "recover", m.end(), polarity="holds", confidence=0.8)
        for acute in _ACUTE:
            yield from _silent(clause, "suffers from", acute, m.end())


def _beat(clause: Clause) -> Iterator[Statement]:
    m = re.match(
        rf"\s*(?:my|the|her|his)?\s*(?P<what>(?:[\w-]+\s+)?{_ILLNESS}|addiction)\b", clause.rest, re.IGNORECASE
    )
    if m and clause.form in _HAPPENED and not clause.denied:
        yield from _ended_illness(clause, m["what"], m.end())


def _outgrew(clause: Clause) -> Iterator[Statement]:
    m = re.match(r"\s*(?:my|her|his|their|the)\s+(?P<what>[\w -]*?allerg(?:y|ies)|asthma|eczema)\b", clause.rest)
    if m and clause.form in _HAPPENED and not clause.denied:
        yield from _ended_illness(clause, m["what"], m.end())


_DRUG = r"(?P<drug>(?!my\b|the\b|it\b|a\b|an\b|them\b|that\b|this\b)[\w-]+(?:\s(?:\d+\s?mg|pills|tablets|injections))?)"
_NOT_DRUGS = re.compile(
    r"(?:a|an|the|my|our|holiday|vacation|leave|time|top|track|board|fire|call|hold|strike|duty|work|instagram|facebook|"
    r"twitter|tiktok|linkedin|whatsapp|social|call|way|sugar|alcohol|days?|tour|air|guard|school|line|foot|edge|campus|"
    r"probation|parole|monday|tuesday|wednesday|thursday|friday|saturday|sunday|schedule|point|cloud|sale|it|limits|"
    r"to|and|for|with|in|from|\d+)\b",
    re.IGNORECASE,
)
_MEDICINE = re.compile(
    r"[\w-]*(?:in|ol|en|ine|ide|ate|il|one|ium|an|am|ab|pine|formin|statin|cillin|mycin|pril|sartan|azole|oxetine)"
    r"\b|(?:antidepressants|insulin|statins?|beta.?blockers|antibiotics|painkillers|ssris?|blood thinners|medication|"
    r"the pill|iron)\b",
    re.IGNORECASE,
)


def _is_medicine(word: str) -> bool:
    return not _NOT_DRUGS.match(word) and bool(_MEDICINE.match(word)) and len(word) > 3


_TREATED = re.compile(
    r"(?:doctor|gp|psychiatrist|neurologist|cardiologist|physician|consultant|specialist|dermatologist|rheumatologist|"
    r"oncologist|therapist|nurse)\s+(?:(?:has|just|now|recently|finally)\s+)*(?P<how>switched|changed|moved|took|taken|"
    r"put|started|prescribed|replaced|swapped|gave)\s+(?P<rest>[^.!?;]+)",
    re.IGNORECASE,
)


def _treatment(rest: str) -> tuple[str | None, str | None, int]:
    """The medicine that ends and the one that begins in what a doctor did; and how far it was read."""
    m = re.match(
        r"\s*(?:(?:me|her|him|us|my\s+(?:medicine|medication|prescription|meds|pills|tablets)|it)\s+)?(?:over\s+)?"
        r"(?:(?P<off>off(?:\s+of)?)\s+(?:the\s+|my\s+)?(?P<old>[\w-]+)(?:\s+and\s+(?:put\s+)?(?:me\s+)?(?:on|onto|to)\s+"
        r"(?P<new>[\w-]+))?|from\s+(?P<old2>[\w-]+)\s+(?:on)?to\s+(?P<new2>[\w-]+)|(?:onto|on|to)\s+(?P<new3>[\w-]+)"
        r"(?:\s+instead(?:\s+of\s+(?P<old3>[\w-]+))?)?|(?P<new4>[\w-]+)\s+instead\s+of\s+(?P<old4>[\w-]+)"
        r"|(?P<old5>[\w-]+)\s+(?:with|for)\s+(?P<new5>[\w-]+)|(?P<new6>[\w-]+))",
        rest,
        re.IGNORECASE,
    )
    if m is None:
        return None, None, 0
    found = m.groupdict()
    old = next((found[k] for k in ("old", "old2", "old3", "old4", "old5") if found[k]), None)
    new = next((found[k] for k in ("new", "new2", "new3", "new4", "new5", "new6") if found[k]), None)
    old = old if old and not _NOT_DRUGS.match(old) else None
    new = new if new and not _NOT_DRUGS.match(new) else None
    if not any(word and _is_medicine(word) for word in (old, new)):
        return None, None, 0
    return old, new, m.end()


def _medicated(clause: Clause) -> Iterator[Statement]:
    """ "was put on metformin", "am off ibuprofen", "was switched from X to Y"."""
    m = re.match(
        r"\s*(?:now\s+|finally\s+|just\s+|back\s+)?(?:(?:put|taken|switched|moved|prescribed|changed|started)\s+"
        r"(?P<passive>.*)|(?P<on>on|off)\s+" + _DRUG + r"(?P<tail>(?:\s+for\s+(?:my|his|her)\s+[\w ]+?)?)"
        r"(?:\s+now|\s+these days|\s+again|\s+instead(?:\s+of\s+(?P<old>[\w-]+))?)?\s*(?=$|[.,!;]|for\b|since\b))",
        clause.rest,
        re.IGNORECASE,
    )
    if m is None or clause.never:
        return
    if m["on"]:
        if not _is_medicine(m["drug"]):
            return
        over = (m["on"].lower() == "off") != clause.denied
        if m["old"]:
            yield from _silent(clause, "takes", m["old"], m.end())
        upto = len(clause.rest[: m.end()].rstrip())
        yield state(clause, "takes", m["drug"], upto, polarity="ended" if over else "holds", confidence=0.85)
        return
    old, new, length = _treatment(m["passive"])
    yield from _medicines(clause, old, new, m.start("passive") + length)


def _medicines(clause: Clause, old: str | None, new: str | None, upto: int) -> Iterator[Statement]:
    if old:
        yield state(clause, "takes", old, upto, polarity="ended", silent=bool(new), confidence=0.85)
    if new:
        yield state(clause, "takes", new, upto, polarity="holds", confidence=0.85)


_BORN_OR_HERE = re.compile(
    r"\s*(?:finally\s+|just\s+)?(?:born|(?:finally\s+|already\s+)?here)\b(?!\s+(?:in\s+(?:19|20)\d\d|on\s+\w+\s+\d|"
    r"with|for|to|at my|visiting|and\s+raised))(?:\s+(?:yesterday|today|last\s+\w+|on\s+\w+day|this\s+\w+|early"
    r"\s+this\s+morning|in\s+[A-Z]\w+(?!\s+\d)))?",
    re.IGNORECASE,
)


def _be(clause: Clause) -> Iterator[Statement]:
    rest = clause.rest
    born = None
    if clause.form in ("past", "perfect", "present") and not clause.denied:
        born = _BORN_OR_HERE.match(rest)
    if born is not None:
        if "here" not in born[0] or re.search(r"\b(?:baby|newborn)\b", clause.subject):
            yield from _arrived(clause, born.end())
        return
    if clause.form not in ("present", "past", "perfect"):
        return
    if m := re.match(r"\s*(?P<back>back\s+)?together(?:\s+again)?\b(?!\s+(?:for|since))", rest, re.IGNORECASE):
        mate = clause.who.with_kin
        if clause.denied and clause.form == "present":
            pair = clause.who.pair
            for i, person in enumerate(pair or (clause.subject,)):
                with_whom = re.match(rf"\s*with\s+(?P<mate>{_NAME})", rest[m.end() :])
                other = pair[1 - i] if pair else with_whom["mate"] if with_whom else mate
                upto = m.end() + (with_whom.end() if with_whom else 0)
                text = f"{person} is no longer together with {other}" if other else None
                yield state(clause, "partner", other, upto, polarity="ended", subject=person, text=text)
                yield state(clause, "marital status", "engaged", upto, polarity="ended", subject=person, silent=True)
        elif not clause.denied and clause.form != "past" and (m["back"] or "again" in m[0] or clause.who.pair or mate):
            yield from _together(clause, m.end(), mate)
        return
    if clause.form == "present":
        yield from _at_school(clause)
        yield from _with_mate(clause)
    if clause.form == "present" and not clause.denied:
        yield from _be_back(clause)
    if (
        (
            m := re.match(
                rf"\s*(?:finally\s+|now\s+|completely\s+|fully\s+)*(?:over|free\s+of|cured\s+of|recovered\s+from|healed\s+from)"
                rf"\s+(?:my\s+|the\s+|a\s+)?(?P<what>(?:[\w-]+\s+)?(?:{_ILLNESS}|(?:broken|sprained)\s+\w+))\b",
                rest,
                re.IGNORECASE,
            )
        )
        and not clause.denied
    ) or (
        (m := re.match(r"\s*(?:now\s+|finally\s+)?(?P<what>cancer|covid|migraine|pain)[- ]free\b", rest))
        and (not clause.denied)
    ):
        yield from _ended_illness(clause, m["what"], m.end())
    elif (
        m := re.match(
            r"\s*(?:(?:fully|completely|finally|all)\s+)*(?:recovered|healed|healthy\s+again|well\s+again|better\s+"
            r"(?:again|now)|fit\s+again)\b(?=\s*(?:$|[.,!;]|now|and))",
            rest,
            re.IGNORECASE,
        )
    ) and not clause.denied:
        yield state(clause, "did", "recover", m.end(), polarity="holds", confidence=0.8)
        for acute in _ACUTE:
            yield from _silent(clause, "suffers from", acute, m.end())
    else:
        yield from _medicated(clause)


_HURT = re.compile(
    rf"\s*(?:my|his|her|their)\s+(?:(?:left|right|lower|upper)\s+)?(?P<part>{_BODY})\b(?!\s+(?:of|in\s+half))",
    re.IGNORECASE,
)
_HURT_AS = {"break": "broken", "sprain": "sprained", "tear": "torn", "fracture": "fractured", "twist": "twisted"}


def _hurt(clause: Clause) -> Iterator[Statement]:
    """ "broke my arm": a broken arm."""
    m = _HURT.match(clause.rest)
    if m and clause.form in _HAPPENED and not clause.denied:
        value = f"{_HURT_AS[clause.lemma]} {m['part']}"
        yield state(clause, "suffers from", value, m.end(), polarity="holds", confidence=0.9)


_GRADE = re.compile(
    r"\s*(?:now\s+|already\s+)?(?:in\s+|a\s+)?(?:(?:the|her|his|their|my)\s+)?(?P<grade>(?:\w+(?:st|nd|rd|th)|first|second|third|"
    r"fifth|final|last)\s+(?:grade|year|form|class)|(?:grade|year|class|form)\s+(?:\d+|[a-z]+)|kindergarten|preschool|nursery|"
    r"(?:primary|elementary|middle|high|secondary)\s+school)\b",
    re.IGNORECASE,
)
_AT_SCHOOL = re.compile(
    rf"\s*(?:now\s+|currently\s+)?(?:a\s+(?:[\w-]+\s+)?student\s+)?at\s+(?P<school>(?:the\s+)?(?:university|uni|college)(?:\s+(?:of|in)\s+"
    rf"{_NAME})?|(?:{_NAME}\s+)+(?:School|University|College|Academy|High|Uni)(?:\s+of\s+{_NAME})?|"
    r"(?-i:MIT|Harvard|Yale|Oxford|Cambridge|Stanford|Princeton|ETH|UCLA|NYU))\b",
    re.IGNORECASE,
)


def _at_school(clause: Clause) -> Iterator[Statement]:
    if m := _GRADE.match(clause.rest):
        yield state(clause, "grade", m["grade"].lower(), m.end(), single=True)
    elif m := _AT_SCHOOL.match(clause.rest):
        yield state(clause, "studies at", m["school"], m.end(), confidence=0.85)


def _started_grade(clause: Clause) -> Iterator[Statement]:
    m = _GRADE.match(clause.rest)
    if m and clause.form in _HAPPENED and not clause.denied:
        upto = len(clause.rest[: m.end()].rstrip())
        yield state(clause, "grade", m["grade"].lower(), upto, polarity="holds", single=True)


_TO_SCHOOL = re.compile(
    rf"\s*(?:schools?\s+)?(?:(?:from\s+[\w "
    rf"']{{2,30}}?\s+)?(?:in)?to\s+)(?P<school>(?:the\s+)?(?:{_NAME}\s+)*(?:School|University|College|"
    rf"Academy|High)(?:\s+of\s+{_NAME})?|(?-i:MIT|Harvard|Yale|Oxford|Cambridge|Stanford|Princeton|ETH|UCLA|NYU))\b"
)


def _changed_school(clause: Clause) -> Iterator[Statement]:
    m = _TO_SCHOOL.match(clause.rest)
    if m and clause.form in _HAPPENED and not clause.denied:
        yield state(clause, "studies at", m["school"], m.end(), polarity="holds", confidence=0.85)


def _with_mate(clause: Clause) -> Iterator[Statement]:
    m = re.match(rf"\s*with\s+(?P<mate>{_NAME})(?=\s*(?:$|[.,!;]|any\s?more|now\b|again))", clause.rest)
    if m and clause.ceased and not _NO_NAMES.match(m["mate"]):
        yield state(clause, "partner", m["mate"], m.end(), polarity="ended")


def _stopped(clause: Clause) -> Iterator[Statement]:
    """ "stopped going to yoga", "stopped my piano lessons"."""
    m = re.match(
        r"\s*(?:(?:going|coming)\s+to\s+(?:(?:the|my)\s+)?|(?:doing|attending|taking|"
        r"having)\s+(?:my\s+|the\s+)?(?=[\w ]*(?:lessons|class|"
        r"yoga|pilates|training|course))|(?:my|the)\s+(?=[\w -]*?(?:lessons?|class(?:es)?|course|training|sessions|"
        r"subscription|membership|therapy)\b))(?P<what>[\w -]{2,30}?)(?=\s*(?:$|[.,!;]|because|since|"
        r"last|in\b|after|and\b|this\b|when))",
        clause.rest,
        re.IGNORECASE,
    )
    if m and clause.form in _HAPPENED and not clause.denied and clause.lemma in ("stop", "quit"):
        what = m["what"].strip()
        if not re.fullmatch(r"(?:work|school|college|university)", what):
            yield state(clause, "does regularly", what, m.end(), polarity="ended", confidence=0.85)
            yield from _silent(clause, "member of", what, m.end())


def read_led(clause: Clause, recurrence: str) -> list[Statement]:
    """ "On Tuesdays I go to choir": the recurrence stands before the clause."""
    if clause.form not in ("present", "ing") or clause.lemma in (
        _NO_HABITS - {"have", "see", "work", "study", "teach"}
    ):
        return []
    value = value_of(clause.rest, "free") or ""
    if not value.strip() or re.search(r"\b(?:it|you|that|this|them|to|one)\b(?!\s+(?:the\s+)?\w)", value):
        return []
    core = (
        re.sub(r"^\s*(?:an?|the|my|our)\s+", "", value) if clause.lemma == "have" else f"{clause.lemma} {value.strip()}"
    )
    upto = len(value)
    told = clause.tell(f"{value.strip()} {recurrence}")
    found = []
    if clause.keep == "now" or re.match(r"\s*(?:now|these days|instead)\b", clause.rest[upto:]):
        found = list(_silent(clause, "does regularly", core.strip(), upto))
    polarity: Polarity = "ended" if clause.denied else "holds"
    found.append(
        state(
            clause, "does regularly", f"{core.strip()} {recurrence}", upto, text=told, timeless=True, polarity=polarity
        )
    )
    return found


def _takes(clause: Clause) -> Iterator[Statement]:
    m = re.match(
        rf"\s*{_DRUG}(?=\s*(?:$|[.,!;]|now\b|every\b|daily\b|twice\b|once\b|for\b|again\b|in\s+the\b))", clause.rest
    )
    if m and clause.form in ("present", "ing") and not clause.denied and _is_medicine(m["drug"]):
        what_for = re.match(
            r"\s*for\s+(?P<what>(?:my|his|her|their)\s+\w+)(?P<now>\s+(?:now|instead))?", clause.rest[m.end() :]
        )
        if what_for and (what_for["now"] or clause.keep == "now"):
            yield from _silent(clause, "takes", what_for["what"], m.end())
        value = f"{m['drug']} for {what_for['what']}" if what_for else m["drug"]
        upto = m.end() + (what_for.end("what") if what_for else 0)
        yield state(clause, "takes", value, upto, confidence=0.85)


_WORKPLACE = re.compile(
    r"\s*(?:the|my)\s+(?P<what>(?:[\w-]+\s+)?(?:bakery|hospital|company|firm|shop|restaurant|bank|library|agency|startup|"
    r"factory|council|hotel|studio|caf[eé]|clinic|police|army|navy|practice|lab|laboratory|nursery|supermarket|newspaper|"
    r"magazine|ministry|consultancy|law firm))(?=\s*(?:$|[.,!;]|in\s+[A-Z]|last\b|for\s+good|"
    r"after\s+\w+\s+years|to\s+work|to\s+"
    r"become|to\s+start|because|and\b|\w+\s+(?:weeks|months|years)\s+ago|a\s+(?:week|month|year)\s+ago))"
)


def _left(clause: Clause) -> Iterator[Statement]:
    m = _WORKPLACE.match(clause.rest)
    if m and clause.form in _HAPPENED and not clause.denied:
        yield state(clause, "works at", m["what"], m.end(), polarity="ended", confidence=0.8)


def _found_job(clause: Clause) -> Iterator[Statement]:
    m = re.match(
        r"\s*(?:myself\s+)?(?:an?\s+)?(?:(?:new|great|better|part-time|full-time)\s+)*(?:job|position|role|work)\b",
        clause.rest,
    )
    if m and clause.form in _HAPPENED and not clause.denied:
        yield from employed(clause, m.end())


def _became(clause: Clause) -> Iterator[Statement]:
    m = re.match(
        r"\s*(?:the\s+)?(?:new\s+)?(?=(?:head|director|chief|vice president|vp|ceo|cto|cfo|manager|team lead)\b)",
        clause.rest,
        re.IGNORECASE,
    )
    value = value_of(clause.rest[m.end() :], "noun") if m else None
    if m and value and clause.form in _HAPPENED and not clause.denied:
        yield state(clause, "works as", value, m.end() + len(value), polarity="holds")


_PUT_DOWN = re.compile(
    rf"\s*(?:to\s+put\s+)?(?:(?:my|our)\s+(?:(?P<pet>{PETS})\s*)?)?(?P<name>{_NAME})?\s+(?:down|to\s+sleep)\b(?!\s+(?:for|at|on|as|in))"
)


def _put_down(clause: Clause) -> Iterator[Statement]:
    m = _PUT_DOWN.match(clause.rest)
    what = " ".join(filter(None, [m["pet"], m["name"]])) if m else ""
    if m and what and clause.form in _HAPPENED and not clause.denied:
        yield state(clause, "has", what.strip(), m.end(), polarity="ended", confidence=0.85)


def _ran(clause: Clause) -> Iterator[Statement]:
    if m := re.match(r"\s*away\b", clause.rest):
        pet = re.fullmatch(rf"(?P<owner>.+?)'s (?P<what>(?:\w+ )*?(?:{PETS})(?: [A-Z]\w+)?)", clause.subject)
        if pet and clause.form in _HAPPENED and not clause.denied:
            yield state(clause, "has", pet["what"], m.end(), polarity="ended", subject=pet["owner"])


_ORDINALS = words(
    """
    first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth fifteenth
    sixteenth seventeenth eighteenth nineteenth twentieth thirtieth fortieth fiftieth sixtieth seventieth eightieth
    ninetieth
    """
)
_BIRTHDAY = re.compile(
    rf"\s*(?:(?P<whose>my|our|his|her|their|(?-i:[A-Z]\w+)'s|(?:my|our)\s+(?:{KIN})(?:\s{_NAME})?'s)\s+)(?P<age>\d{{1,3}}(?:st|nd|rd|th)|"
    rf"{_ORDINALS})\s+birthday\b{_WHEN_SHORT}",
    re.IGNORECASE,
)
_NUMBERS = dict(zip(_ORDINALS[3:-1].split("|"), [*range(1, 21), *range(30, 100, 10)], strict=True))


def _birthday(clause: Clause) -> Iterator[Statement]:
    """ "celebrated Leo's tenth birthday": he is ten."""
    m = _BIRTHDAY.match(clause.rest)
    if m is None or clause.form not in _HAPPENED or clause.denied:
        return
    whose = m["whose"].lower()
    if whose in ("my", "our", "his", "her", "their"):
        subject = clause.subject
    elif whose.startswith(("my ", "our ")):
        subject = f"{clause.owner}'s {m['whose'].split(' ', 1)[1][:-2]}"
    else:
        subject = m["whose"][:-2]
    age = _NUMBERS.get(m["age"].lower()) or int(re.sub(r"\D", "", m["age"]))
    yield state(clause, "age", str(age), m.end(), polarity="holds", subject=subject, confidence=0.85)


def _liked_more(clause: Clause) -> Iterator[Statement]:
    """ "I like tea more than coffee"."""
    m = re.match(
        r"\s*(?P<new>[\w' -]{2,40}?)\s+(?:more|better|much\s+more|"
        r"much\s+better)\s+than\s+(?P<old>(?!i\b|it\b|before|ever|that\b)"
        r"[\w' -]{2,30}?)(?=\s*(?:$|[.,!;]|now\b|these days))",
        clause.rest,
        re.IGNORECASE,
    )
    if (
        m
        and clause.form == "present"
        and not clause.denied
        and not re.search(r"\b(?:it|you|that|this|them|him|her|me)\b", m[0])
    ):
        yield from _silent(clause, "prefers", m["old"], m.end())
        yield state(clause, "prefers", m["new"].strip(), m.end(), confidence=0.85)


def _cut(clause: Clause) -> Iterator[Statement]:
    m = re.match(r"\s*out\s+(?:all\s+)?", clause.rest)
    value = value_of(clause.rest[m.end() :], "noun") if m else None
    if m and value and clause.form in _HAPPENED and not clause.denied:
        yield state(clause, "eats", value, m.end() + len(value), polarity="ended", confidence=0.85)
        yield from _silent(clause, "drinks|practises", value, m.end() + len(value))


def _new_number(clause: Clause) -> Iterator[Statement]:
    """ "changed my number, it's 555 9999 now", "have a new address: ..."."""
    m = re.match(
        r"\s*(?:my|our|an?)\s+(?:new\s+)?(?P<where>work\s+|home\s+|office\s+)?(?P<what>(?:phone\s+|mobile\s+|cell\s+)?number|"
        r"e-?mail(?:\s+address)?|address)\s*[:,–-]?\s*(?:and\s+)?(?:(?:it's|it\s+is|it\s+is\s+now|the\s+new\s+one\s+is|now\s+it's)\s+)?"
        r"(?:now\s+)?(?P<datum>[\w.+-]+@[\w.-]+\w|\+?\d[\d\s()-]{4,18}\d|\d+\s+[A-Z]\w+(?:\s[A-Z]\w+)*)",
        clause.rest,
        re.IGNORECASE,
    )
    if m and clause.form in (*_HAPPENED, "present") and not clause.denied:
        what = m["what"].lower()
        kind = "email" if "mail" in what else "address" if what == "address" else "phone number"
        attribute = f"{(m['where'] or '').lower().strip()} {kind}".strip()
        told = f"{clause.subject}'s new {attribute} is {m['datum'].strip()}"
        yield state(
            clause, attribute, m["datum"].strip(), m.end(), polarity="holds", single=True, text=told, timeless=True
        )


_STREET = re.compile(
    r"\s*(?:(?:in)?to)\s+(?P<value>\d+[a-z]?\s+(?:[A-Z][\w'-]*\s){1,3}?(?:Street|St|Lane|Road|Rd|Avenue|Ave|Drive|Way|Close|"
    r"Court|Square|Place|Boulevard|Terrace|Row|Hill|Gardens|Crescent))\b(?P<city>,?\s+(?:in\s+)?[A-Z]\w+)?"
)


def _moved(clause: Clause) -> Iterator[Statement]:
    if clause.form not in _HAPPENED or clause.denied:
        return
    if m := _STREET.match(clause.rest):
        yield state(clause, "address", m[0].strip().split(" ", 1)[1], m.end(), polarity="holds", confidence=0.9)
        if m["city"]:
            city = re.sub(r"^[\s,]*(?:in\s+)?", "", m["city"])
            told = f"{clause.subject} lives in {city}"
            yield state(clause, "lives in", city, m.end(), polarity="holds", text=told)
    elif (m := re.match(rf"\s*again,\s+(?:this\s+time\s+)?to\s+(?P<to>{_NAME})", clause.rest)) and not _NO_NAMES.match(
        m["to"]
    ):
        yield state(clause, "lives in", m["to"], m.end(), polarity="holds", confidence=0.9)


def _be_back(clause: Clause) -> Iterator[Statement]:
    """ "I'm back at Acme", "back with Arvid", "back to drinking coffee", "back in Oslo for good"."""
    home = re.match(
        rf"\s*(?:now\s+)?back\s+(?:living\s+)?in\s+(?P<name>{_NAME}(?:\s{_NAME})?)\s+(?:for\s+good|permanently|again|now)\b",
        clause.rest,
    )
    if home and not _NO_NAMES.match(home["name"]):
        yield state(clause, "lives in", home["name"], home.end(), confidence=0.75)
        return
    m = re.match(r"\s*back\s+(?P<how>at|with|to|on)\s+", clause.rest, re.IGNORECASE)
    if m is None:
        return
    words_ = clause.rest[m.end() :]
    how = m["how"].lower()
    if how == "with" and (mate := re.match(rf"(?:my\s+ex,?\s+)?(?P<name>{_NAME})(?=\s*(?:$|[.,!]|again|now))", words_)):
        yield state(clause, "partner", mate["name"], m.end() + mate.end(), confidence=0.8)
    elif how == "at" and (
        place := re.match(rf"(?P<name>{_NAME}(?:\s{_NAME})?)(?=\s*(?:$|[.,!;]|as\b|again|now))", words_)
    ):
        yield state(clause, "works at", place["name"], m.end() + place.end(), confidence=0.7)
    elif how == "to":
        yield from _back_to(clause, m.end())


def _back_to(clause: Clause, begin: int) -> Iterator[Statement]:
    """The habit or state that "back to" takes up again."""
    rest = clause.rest[begin:]
    if being := re.match(r"being\s+(?:an?\s+)?", rest):
        inner = replace(
            clause,
            form="present",
            lemma="be",
            verb="",
            rest=" " + rest[being.end() :],
            rest_start=clause.rest_start + begin + being.end() - 1,
        )
        yield from read_state(inner)
        return
    inner_or_none = as_present(clause, rest, begin)
    if inner_or_none is None or not rest.lstrip().split(" ", 1)[0].endswith("ing"):
        return
    found_habit = habit_of(inner_or_none)
    if found_habit:
        attribute, value, length = found_habit
        upto = inner_or_none.rest_start - clause.rest_start + length
        yield state(clause, attribute, value, upto, polarity="holds", confidence=0.85)


def _went(clause: Clause) -> Iterator[Statement]:
    if clause.form in _HAPPENED and not clause.denied:
        if m := re.match(r"\s*back\s+to\s+(?=being\b|\w+ing\b)", clause.rest, re.IGNORECASE):
            yield from _back_to(clause, m.end())
        elif m := re.match(r"\s*(?:freelance|self-employed)\b", clause.rest, re.IGNORECASE):
            yield state(clause, "employment", "self-employed", m.end(), polarity="holds", confidence=0.85)
        elif (
            m := re.match(rf"\s*back\s+to\s+(?P<who>{_NAME})\s+(?:and\s+we|after\s+our\s+break)", clause.rest)
        ) is not None:
            yield state(clause, "partner", m["who"], m.end("who"), confidence=0.7)


# Things and habits that give way


def habit_of(clause: Clause) -> tuple[str, str, int] | None:
    """Attribute, value and length in the rest of the habit that a clause names, whatever its tense."""
    value = value_of(clause.rest, "habit")
    if value is None:
        return None
    attribute = HABITS.get(clause.lemma)
    if attribute and value.strip():
        return attribute, value.strip(), len(value)
    return "does regularly", f"{clause.lemma} {value.strip()}".strip(), len(value)


_NO_HABITS = frozenset(
    [
        "be",
        "have",
        "live",
        "like",
        "love",
        "enjoy",
        "adore",
        "hate",
        "prefer",
        "own",
        "work",
        "know",
        "want",
        "need",
        "think",
        "feel",
        "see",
        "get",
        "come",
        "do",
        "let",
        "make",
        "say",
        "tell",
        "mean",
        "believe",
        "care",
        "date",
        "stay",
        "move",
        "reside",
        "speak",
        "support",
        "teach",
        "study",
        "suffer",
        "identify",
        "find",
        "name",
    ]
)


def read_ceased(clause: Clause) -> list[Statement]:
    """ "I don't go to the gym any more": a habit that has ended, whatever its verb."""
    if not clause.ceased or clause.form not in ("present", "ing"):
        return []
    if clause.lemma in ("have", "own"):
        had = re.match(r"\s*(?:the|my|our|that|any)\s+", clause.rest)
        value = value_of(clause.rest[had.end() :], "having") if had else None
        if had is None or not value or re.match(r"(?:time|energy|money|patience|idea|problem|need|plans?)\b", value):
            return []
        return [state(clause, "has", value, had.end() + len(value), polarity="ended", confidence=0.85)]
    if clause.lemma in _NO_HABITS:
        return []
    found = habit_of(clause)
    if found is None or not found[1]:
        return []
    attribute, value, length = found
    if re.search(r"\b(?:it|that|this|you|him|them|there|so)\b", value):
        return []
    return [state(clause, attribute, value, length, polarity="ended", confidence=0.85)]


_REPLACED = re.compile(
    r"\s*(?:out\s+|in\s+|up\s+)?(?:from\s+)?(?:(?P<my>my|our|the|his|her|"
    r"their)\s+)?(?:old\s+)?(?P<old>[\w' -]{2,40}?)\s+"
    r"(?:with|by|for|to)\s+(?=\S)",
    re.IGNORECASE,
)
_ANY_THING = "has|owns|drives|uses|takes|drinks|eats|plays|practises|does regularly|wears"


def _replaced(clause: Clause) -> Iterator[Statement]:
    """ "replaced my Volvo with a Renault", "swapped coffee for tea", "upgraded from an X to a Y"."""
    m = _REPLACED.match(clause.rest)
    if m is None or clause.form not in _HAPPENED or clause.denied:
        return
    if clause.lemma == "trade" and not m["my"]:
        return
    value = value_of(clause.rest[m.end() :], "noun")
    if not value or re.match(r"(?:me|him|her|seats?|places?|numbers?|stories|notes|gifts)\b", m["old"], re.IGNORECASE):
        return
    upto = m.end() + len(value)
    yield from _silent(clause, _ANY_THING, m["old"].strip(), upto)
    yield state(clause, _attribute_for(value), value, upto, polarity="holds", confidence=0.85)


def _attribute_for(value: str) -> str:
    if re.search(rf"\b{PETS}\b", value, re.IGNORECASE):
        return "has"
    if re.match(rf"(?:[\w-]+\s+)?{DRINKS}\b", value, re.IGNORECASE):
        return "drinks"
    if re.match(r"[a-z]+$", value) and _is_medicine(value):
        return "takes"
    if re.match(r"(?:an?|my|our|the)\s", value, re.IGNORECASE):
        return "owns"
    return "practises" if re.match(r"\w+ing\b", value) else "uses"


_INSTEAD = re.compile(
    r",?\s+(?:instead\s+of|rather\s+than|in\s+place\s+of|and\s+no\s+longer|and\s+not|and\s+no\s+more)\s+(?P<old>(?!(?:he|"
    r"she|i|we|they|it|that|this|you|doing|being|going)\b)[\w' -]{2,40}?)"
    r"(?=\s*(?:[.,!;]|$|now\b|these\s+days|because|since|and\b|but\b|as\b|for\s+now))",
    re.IGNORECASE,
)


def cut_instead(clause: Clause) -> tuple[Clause, str | None]:
    """The clause without "instead of coffee", and what gave way."""
    if not any(word in clause.rest for word in ("instead of", "rather than", "in place of", "and no", "and not")):
        return clause, None
    m = _INSTEAD.search(clause.rest[:200])
    if m is None or clause.denied or clause.form in ("future", "used"):
        return clause, None
    return replace(clause, rest=clause.rest[: m.start()]), re.sub(r"^(?:my|our|the|an?)\s+", "", m["old"].strip())


_GIVES_WAY = {
    "does regularly": "does regularly|drinks|eats|plays|practises",
    "drinks": "drinks|does regularly",
    "eats": "eats|does regularly",
    "takes": "takes",
    "plays": "plays|practises|does regularly",
    "practises": "practises|plays|does regularly|is learning",
    "is learning": "is learning|practises",
    "uses": "uses|owns|has",
    "owns": "owns|has|drives",
    "has": "has|owns|drives",
    "drives": "drives|owns|has",
    "prefers": "prefers|likes",
    "likes": "prefers|likes",
    "teaches": "teaches",
    "studies": "studies",
    "wears": "wears",
    "watches": "watches",
}


def gave_way(found: Iterable[Statement], old: str) -> Iterator[Statement]:
    """The silent ends of what the statement came "instead of"; before it, as the same message may say it again."""
    for statement in found:
        if statement.polarity == "holds" and not statement.silent and statement.attribute in _GIVES_WAY:
            for attribute in _GIVES_WAY[statement.attribute].split("|"):
                yield replace(statement, attribute=attribute, value=old, polarity="ended", silent=True, confidence=0.85)


def _preferred(clause: Clause) -> Iterator[Statement]:
    """ "I prefer tea to coffee", "I prefer aisle seats now"."""
    if clause.form not in ("present",) or clause.denied:
        return
    if m := re.match(
        r"\s*(?P<new>(?!to\b)[\w' -]{2,40}?)\s+(?:to|over|rather\s+than|instead\s+of)\s+(?!be\b|do\b|go\b|have\b|"
        r"stay\b|get\b|make\b|eat\b|drink\b|see\b|work\b)(?P<old>[\w' -]{2,30}?)(?=\s*(?:$|[.,!;]|"
        r"now\b|these days|any day))",
        clause.rest,
        re.IGNORECASE,
    ):
        if not re.search(r"\b(?:it|you|that|this|them|one|him|her|me)\b", f"{m['new']} {m['old']}", re.IGNORECASE):
            yield from _silent(clause, "prefers", m["old"], m.end())
            yield state(clause, "prefers", m["new"].strip(), m.end(), confidence=0.85)
    elif clause.keep == "now" or re.search(r"\b(?:now|these days|nowadays)\s*(?:$|[.,!;])", clause.rest[:80]):
        value = value_of(clause.rest, "liking")
        if value:
            value = re.sub(r"\s+now$", "", value.strip())
            head = value.split()[-1]
            if len(value.split()) > 1 and re.fullmatch(r"[a-z]+", head):
                yield from _silent(clause, "prefers", head, len(value) + 1)
            yield state(clause, "prefers", value, len(clause.rest[: len(value) + 1].rstrip()), confidence=0.85)


# Plans that come to nothing


def _plan_over(clause: Clause, begin: int) -> Iterator[Statement]:
    value = value_of(clause.rest[begin:], "free")
    if value and not re.search(r"\b(?:it|that|this|you|them)\b", value):
        what = re.sub(r"^(?:the|my|our|an?|idea of|plan to|plans? of)\s+", "", value.strip(), flags=re.IGNORECASE)
        yield state(clause, "plans", what, begin + len(value), polarity="ended", confidence=0.85)


def _got(clause: Clause) -> Iterator[Statement]:
    if clause.form not in _HAPPENED:
        return
    rest = clause.rest
    if clause.denied:
        if m := re.match(r"\s*(?:round|around)\s+to\s+", rest, re.IGNORECASE):
            yield from _plan_over(clause, m.end())
        return
    if "number" in rest or "mail" in rest or "address" in rest:
        yield from _new_number(clause)
    if m := re.match(r"\s*back\s+together\b", rest, re.IGNORECASE):
        yield from _together(clause, m.end(), clause.who.with_kin)
    elif _TO_SCHOOL.match(rest):
        yield from _changed_school(clause)
    elif m := re.match(r"\s*back\s+(?:in)?to\s+(?=\w+ing\b)", rest, re.IGNORECASE):
        yield from _back_to(clause, m.end())
    elif m := re.match(r"\s*(?:put|switched|moved|taken)\s+(?=on\b|off\b|to\b|from\b|onto\b)", rest, re.IGNORECASE):
        old, new, length = _treatment(rest[m.end() :])
        yield from _medicines(clause, old, new, m.end() + length)


def _dropped(clause: Clause) -> Iterator[Statement]:
    if clause.form not in _HAPPENED or clause.denied:
        return
    if m := re.match(
        r"\s*(?:the|my|our|all)\s+(?:(?:whole|big|crazy)\s+)?(?:plan|idea|dream)s?\s+(?:of|to|about|for)\s+",
        clause.rest,
    ):
        yield from _plan_over(clause, m.end())
    elif m := re.match(
        r"\s*(?=(?:the\s+|my\s+)?[\w-]+(?:\s+(?:class(?:es)?|lessons|club|course|practice))?\s*(?:$|[.,!;]))",
        clause.rest,
    ):
        value = value_of(clause.rest[m.end() :], "activity")
        if value and not re.match(r"(?:out|by|off|in|my phone|my keys)\b", value.strip()):
            upto = m.end() + len(value)
            what = re.sub(r"^(?:the|my)\s+", "", value)
            yield state(clause, "does regularly", what, upto, polarity="ended", confidence=0.75)


def _decided(clause: Clause) -> Iterator[Statement]:
    m = re.match(r"\s*against\s+", clause.rest, re.IGNORECASE)
    if m and clause.form in _HAPPENED and not clause.denied:
        yield from _plan_over(clause, m.end())


_LATER = (
    r"(?:next\s+\w+|(?:early\s+|late\s+|mid-?)?(?:january|february|march|april|may|june|july|august|september|october|"
    r"november|december)(?:\s+\d+\w*)?|(?:the\s+)?(?:spring|summer|autumn|fall|winter)|\d{4}|(?:mon|tues|wednes|thurs|"
    r"fri|satur|sun)day|the\s+\d+\w*(?:\s+of\s+\w+)?|a\s+week\s+later|later)"
)


def _postponed(clause: Clause) -> Iterator[Statement]:
    """ "We postponed the trip to Rome to May": the plan holds, at another time."""
    m = re.match(
        rf"\s*(?:back\s+)?(?:my|our|the)\s+(?P<what>[\w' -]{{2,50}}?)\s+(?:(?:back|forward)\s+)?(?:to|until|till|by)\s+"
        rf"(?P<when>{_LATER})\b",
        clause.rest,
        re.IGNORECASE,
    )
    if m and clause.form in _HAPPENED and not clause.denied and not re.search(r"days\b", m["when"], re.IGNORECASE):
        yield from _silent(clause, "plans", m["what"], m.end())
        yield state(clause, "plans", m["what"], m.end(), polarity="holds", confidence=0.8)


def _called_off(clause: Clause) -> Iterator[Statement]:
    m = re.match(r"\s*off\s+(?:my|our|the|their)\s+(?P<what>engagement|wedding)\b", clause.rest, re.IGNORECASE)
    if m and clause.form in _HAPPENED and not clause.denied:
        yield state(clause, "plans", m["what"], m.end(), polarity="ended", confidence=0.9)
        yield from _silent(clause, "marital status", "engaged", m.end())


def _named(clause: Clause) -> Iterator[Statement]:
    m = re.match(
        rf"\s*(?:him|her|them|it|the\s+(?:baby|boy|girl|little\s+one))\s+(?P<name>{_NAME})(?=\s*(?:$|[.,!;]|after\b))",
        clause.rest,
    )
    if m and clause.form in _HAPPENED and not clause.denied and clause.who.speaker and "baby" in m[0]:
        yield state(clause, "child", m["name"], m.end(), confidence=0.85)


_READERS: dict[str, Reader] = {
    "have": _had,
    "celebrate": _birthday,
    **dict.fromkeys(("break", "sprain", "tear", "fracture"), _hurt),
    "take": _takes,
    "leave": _left,
    "find": _found_job,
    "become": _became,
    "put": _put_down,
    "run": _ran,
    "cut": _cut,
    **dict.fromkeys(("stop", "quit"), _stopped),
    **dict.fromkeys(("start", "begin", "enter"), _started_grade),
    **dict.fromkeys(("switch", "transfer"), _changed_school),
    "change": _new_number,
    "move": _moved,
    **dict.fromkeys(("like", "love", "enjoy"), _liked_more),
    "keep": _had,
    "welcome": _had,
    "give": _gave_birth,
    "be": _be,
    "get": _got,
    "go": _went,
    "arrive": lambda clause: _arrived(clause, 0) if clause.form in _HAPPENED and not clause.denied else iter(()),
    "propose": _proposed,
    "see": _seeing,
    "recover": _recovered,
    "heal": _recovered,
    "beat": _beat,
    "outgrow": _outgrew,
    "replace": _replaced,
    "swap": _replaced,
    "trade": _replaced,
    "upgrade": _replaced,
    "exchange": _replaced,
    "prefer": _preferred,
    "drop": _dropped,
    "decide": _decided,
    "postpone": _postponed,
    "push": _postponed,
    "call": _called_off,
    "name": _named,
}


# "my ..." and sentences without a person


def read_my_life(body: str, start: int, body_start: int, owner: str, speaker: str) -> list[Statement]:
    """ "My arm has healed", "my doctor took me off ibuprofen". body: behind "my", `owner` whose it is."""
    if m := _MY_WELL.match(body):
        text = from_third(f"{owner}'s {' '.join(m[0].split())}", owner)
        end = body_start + m.end()
        what = re.sub(r"^(?:broken|sprained|torn|fractured|injured|bad|sore)\s+(?=\w)", "", m["what"])
        found = [Statement(text, owner, "suffers from", what, start, end, 0.85, "ended")]
        if allergy := re.match(r"(?P<what>[\w -]+?)\s+allerg", m["what"]):
            found.append(
                Statement(text, owner, "is allergic to", allergy["what"], start, end, 0.85, "ended", silent=True)
            )
        return found
    if m := _TREATED.match(body):
        old, new, length = _treatment(m["rest"])
        if not (old or new) or (m["how"].lower() in ("gave", "started") and not new):
            return []
        if m["how"].lower() in ("took", "taken") and not old:
            return []
        end = body_start + m.start("rest") + length
        text = from_third(f"{owner}'s {' '.join(body[: m.start('rest') + length].split())}", owner)
        found = []
        if old:
            found.append(Statement(text, owner, "takes", old, start, end, 0.85, "ended", silent=bool(new)))
        if new:
            found.append(Statement(text, owner, "takes", new, start, end, 0.85))
        return found
    return []


_STOLE = re.compile(
    r"\s*(?:(?:so|and|but|ugh|well),?\s+)?(?:someone|somebody|some\s+\w+|thieves|a\s+thief|burglars|they)\s+(?:has\s+|"
    r"have\s+|just\s+)?(?:stole|stolen|took|nicked|broke\s+in\s+and\s+stole)\s+(?P<whose>my|our|(?-i:[A-Z]\w+)'s)\s+"
    r"(?P<what>(?:[\w-]+\s+){0,2}[\w-]+?)(?=\s*(?:$|[.,!;]|from\b|last\b|yesterday|this\b|on\b|out\b|while|during|at\b))",
    re.IGNORECASE,
)
_THEY_TREATED = re.compile(
    r"\s*(?:they|the\s+(?:doctors?|hospital|clinic|neurologist|psychiatrist|gp))\s+(?:(?:have|has|just|now)\s+)*(?:switched|moved|took|"
    r"taken|put|changed)\s+(?P<rest>me\s+[^.!?;,]+)",
    re.IGNORECASE,
)
_PLEASE_USE = re.compile(
    r"\s*(?:(?:so|and),?\s+)?(?:please\s+)?use\s+(?P<datum>[\w.+-]+@[\w.-]+\w|\+?\d[\d\s()-]{4,18}\d)\s+(?:from\s+now\s+on|now|instead)",
    re.IGNORECASE,
)
_NOW_FAVOURITE = re.compile(
    r"\s*(?:my\s+favou?rite\s+(?P<old>[\w-]+)\s+(?:used\s+to\s+be|"
    r"was)\s+[\w' -]+?,?\s+(?:but\s+)?(?:now\s+it's|it's\s+now|now\s+it\s+is)\s+(?P<value2>[\w' -]{2,40})|"
    r"(?P<value>(?!(?:it|that|this|he|she)\b)[\w' -]{2,40}?)\s+(?:has\s+become|became|is\s+now|"
    r"has\s+replaced\s+[\w' -]+?\s+as)\s+my\s+(?:new\s+|absolute\s+)?favou?rite\s+"
    r"(?P<what>[\w-]+)(?=\s*(?:$|[.,!;]|now)))",
    re.IGNORECASE,
)
_THING_GONE = re.compile(
    rf"\s*(?:(?:so|and|but|well|sadly|unfortunately),?\s+)*the\s+(?P<what>(?:[\w-]+\s+)?(?:{VEHICLES}|{PETS}|{THINGS}|phone|"
    r"laptop|computer|tablet|(?-i:[A-Z]\w+(?=\s+(?:is|was|has\s+been|got)\s+(?:sold|stolen)))))\s+(?:(?:was|were|is|has\s+been|got|'s)\s+(?:just\s+|finally\s+|already\s+)?"
    r"(?:sold(?!\s+out)|stolen|totalled|totaled|scrapped|dead|gone(?!\s+to)|destroyed)|died|broke\s+down\s+for\s+good|drowned|"
    r"ran\s+away|gave\s+up\s+the\s+ghost)\b",
    re.IGNORECASE,
)
_ENGAGEMENT_OFF = re.compile(
    r"\s*(?:(?:so|and|but|well|sadly),?\s+)*(?:the|our|my)\s+(?P<what>engagement|wedding)\s+(?:is|was|has\s+been)\s+"
    r"(?:now\s+|officially\s+)?(?:off|called\s+off|cancel+ed)\b",
    re.IGNORECASE,
)
_NO_MORE = re.compile(
    r"\s*(?:so\s+|and\s+)?no\s+more\s+(?P<what>(?!of\b|than\b|questions|excuses|time|"
    r"waiting)[\w -]{2,30}?)(?P<end>"
    r"\s+(?:for\s+me|for\s+us|from\s+now\s+on)(?=\s*(?:$|[.,!;]))|,\s+(?=(?:i|we|i'm|i've)\b))",
    re.IGNORECASE,
)
_BORN_BARE = re.compile(
    rf"\s*(?:(?:it's|and|so|welcome),?\s+)*(?:(?:a|our)\s+)?(?P<kind>baby(?:\s(?:boy|girl))?|(?:little\s)?(?:boy|girl)|"
    rf"son|daughter)?,?\s*(?:called|named)?\s*(?P<name>{_NAME})\s+(?:was\s+born|arrived|came\s+into\s+the\s+world)\b",
    re.IGNORECASE,
)
_REACH = re.compile(
    r"\s*(?:(?:so|and|now|from now on),?\s+)*(?:(?:you|people|anyone)\s+can\s+|"
    r"please\s+)?(?:reach|contact|email|e-mail|"
    r"text|call|ring|phone|write\s+to)\s+me\s+(?:now\s+)?(?:at|on|under|via)\s+(?:my\s+new\s+(?:number|email|address),?\s+)?"
    r"(?P<datum>[\w.+-]+@[\w.-]+\w|\+?\d[\d\s()-]{4,18}\d)",
    re.IGNORECASE,
)
_NEW_DATUM = re.compile(
    r"\s*(?:(?:so|and|hey|also|btw|oh|i|we|have|got|i've|we've|my|our|here\s+is|here's|update:?|note:?),?\s+)*(?:an?\s+)?new\s+"
    r"(?P<where>work\s+|home\s+|office\s+)?(?P<what>(?:phone\s+|mobile\s+|cell\s+)?number|e-?mail(?:\s+address)?|"
    r"address)\s*(?:[:,–-]|,?\s+it's|,?\s+it\s+is|:\s+it's|is)\s*(?:it's\s+|it\s+is\s+)?(?P<datum>\S.*?)(?=\s*(?:$|[!;]|"
    r"\.\s|,\s+(?:the|my|please|not)\b|\s+now\b))",
    re.IGNORECASE,
)


def read_happening(plain: str, start: int, end: int, speaker: str) -> list[Statement]:
    """Sentences whose subject is nobody: "The cast came off", "Someone stole my bike", "The engagement is off"."""
    if m := _CAST.search(plain, start, end):
        if plain[start : m.start()].strip(" ,.!").lower() not in ("", "so", "and", "finally", "yay", "today", "hooray"):
            return []
        owner = _owner(m["whose"], speaker)
        if owner is None:
            return []
        text = f"{owner}'s {m['what']}{m[0][m.end('what') - m.start() :]}"
        base = Statement(text, owner, "did", f"{m['what']} off", m.start(), m.end(), 0.8)
        return [
            base,
            *(replace(base, attribute="suffers from", value=v, polarity="ended", silent=True) for v in _BROKEN),
        ]
    if m := _STOLE.match(plain, start, end):
        owner = _owner(m["whose"], speaker) or speaker
        return _gone(m, owner, f"{owner}'s {m['what']} was stolen")
    if (m := _THEY_TREATED.match(plain, start, end)) and any(treated := _treatment(m["rest"])[:2]):
        old, new = treated
        text = from_third(m[0].strip(), speaker)
        found = (
            [Statement(text, speaker, "takes", old, m.start(), m.end(), 0.85, "ended", silent=bool(new))] if old else []
        )
        return found + ([Statement(text, speaker, "takes", new, m.start(), m.end(), 0.85)] if new else [])
    if m := _PLEASE_USE.match(plain, start, end):
        kind = "email" if "@" in m["datum"] else "phone number"
        text = f"{speaker}'s {kind} is {m['datum']}"
        return [Statement(text, speaker, kind, m["datum"], m.start(), m.end(), 0.85, single=True, timeless=True)]
    if m := _NOW_FAVOURITE.match(plain, start, end):
        what, value = (m["what"] or m["old"]).lower(), (m["value"] or m["value2"]).strip()
        text = f"{speaker}'s favourite {what} is {value}"
        return [Statement(text, speaker, f"favourite {what}", value, m.start(), m.end(), 0.85)]
    if m := _THING_GONE.match(plain, start, end):
        return _gone(m, speaker, f"{speaker}'s {m[0].strip().split('he ', 1)[-1]}")
    if m := _ENGAGEMENT_OFF.match(plain, start, end):
        text = f"{speaker}'s {m['what']} is off"
        plan = Statement(text, speaker, "plans", m["what"], m.start(), m.end(), 0.9, "ended")
        return [plan, replace(plan, attribute="marital status", value="engaged", silent=True)]
    if m := _NO_MORE.match(plain, start, end):
        text = f"{speaker} has given up {m['what']}"
        end = m.start("end") if m["end"].startswith(",") else m.end()
        ended = Statement(text, speaker, "practises", m["what"], m.start(), end, 0.75, "ended")
        return [
            ended,
            *(replace(ended, attribute=a, silent=True) for a in ("eats", "drinks", "uses", "wears", "takes")),
        ]
    if m := _REACH.match(plain, start, end):
        kind = "email" if "@" in m["datum"] else "phone number"
        return [
            Statement(
                f"{speaker}'s {kind} is {m['datum'].strip()}",
                speaker,
                kind,
                m["datum"].strip(),
                m.start(),
                m.end(),
                0.9,
                single=True,
                timeless=True,
            )
        ]
    if (m := _NEW_DATUM.match(plain, start, end)) and re.search(r"[\d@]", m["datum"]):
        what = m["what"].lower()
        kind = "email" if "mail" in what else "address" if what == "address" else "phone number"
        where = (m["where"] or "").strip().lower()
        attribute = f"{where} {kind}".strip()
        datum = m["datum"].strip(" .")
        text = f"{speaker}'s new {attribute} is {datum}"
        return [Statement(text, speaker, attribute, datum, m.start(), m.end(), 0.85, single=True, timeless=True)]
    return []


def _owner(whose: str | None, speaker: str) -> str | None:
    if whose is None or whose.lower() in ("my", "our", "the"):
        return speaker
    return whose[:-2] if whose.endswith("'s") else None


def _gone(m: re.Match[str], owner: str, text: str) -> list[Statement]:
    return [Statement(text, owner, "owns", m["what"], m.start(), m.end(), 0.85, "ended")]


# What follows


_ON_DAYS = re.compile(r"\b(?:mon|tues|wednes|thurs|fri|satur|sun)days\b|^every\b", re.IGNORECASE)

_ALSO = {
    "has": ("owns", "drives", "uses"),
    "owns": ("has", "drives", "uses"),
    "drives": ("has", "owns"),
    "uses": ("has", "owns"),
    "plays": ("practises", "does regularly", "is learning"),
    "practises": ("plays", "does regularly", "is learning"),
    "does regularly": ("plays", "practises"),
    "is learning": ("practises", "does regularly"),
    "eats": ("does regularly",),
    "drinks": ("does regularly",),
    "takes": ("does regularly",),
}


def with_implied(found: list[Statement], speaker: str) -> list[Statement]:
    """The statements and, before each, what it ends silently under other attributes.

    Where a thing is stored as "owns", "I no longer have it" is said of "has". A new partner ends "single".
    """
    known = {(s.subject, s.attribute, s.value) for s in found}
    result: list[Statement] = []
    for statement in found:
        if statement.attribute == "date" and _ON_DAYS.search(statement.value or ""):  # "Choir is on Wednesdays now"
            what = re.sub(r"^(?:the|.+'s)\s+", "", statement.subject or "")
            ended = replace(
                statement, subject=speaker, attribute="does regularly", value=what, polarity="ended", silent=True
            )
            result.append(replace(ended, corrects=False, instead_of=None, single=None))
        for attribute, value in _implications(statement):
            key = (statement.subject, attribute, value)
            if key not in known:
                known.add(key)
                result.append(
                    replace(statement, attribute=attribute, value=value, polarity="ended", silent=True, corrects=False)
                )
        result.append(statement)
    return result


def _implications(statement: Statement) -> Iterator[tuple[str, str | None]]:
    attribute, value = statement.attribute, statement.value
    if statement.silent or statement.corrects:
        return
    if statement.polarity == "ended" and value:
        for other in _ALSO.get(attribute or "", ()):
            yield other, value
    elif statement.polarity == "holds" and attribute == "partner":
        yield "marital status", "single"
    elif statement.polarity == "holds" and attribute == "marital status" and (value or "").startswith("married"):
        yield "plans", "get married"
        yield "plans", "wedding"
        yield "plans", "marry"


__all__ = [
    "cut_instead",
    "gave_way",
    "habit_of",
    "read_ceased",
    "read_happening",
    "read_led",
    "read_life",
    "read_my_life",
    "with_implied",
]
