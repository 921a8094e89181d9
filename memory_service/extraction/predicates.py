"""States: what a clause says that somebody is, has, does as a rule, likes. One table for all persons and tenses."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from .clauses import Clause
from .statement import Statement, state
from .types import Polarity
from .values import is_named, value_of
from .vocabulary import (
    CONDITIONS,
    COUNT_WORD,
    DIETS,
    KIN,
    NATIONALITIES,
    NUMBER,
    OCCUPATIONS,
    PETS,
    STATES,
    THINGS,
)


class Rule(NamedTuple):
    """pattern: of what follows the verb. The value is what stands behind the match, up to the clause's end.
    dislike: it holds by denying the attribute. speaker: only of oneself, since of others it is said too freely."""

    pattern: re.Pattern[str]
    attribute: str
    confidence: float
    check: str
    dislike: bool = False
    speaker: bool = False


def _rule(
    pattern: str,
    attribute: str,
    confidence: float = 0.85,
    check: str = "noun",
    *,
    dislike: bool = False,
    speaker: bool = False,
) -> Rule:
    compiled = re.compile(r"\s*" + pattern.replace(" ", r"\s+"), re.IGNORECASE)
    return Rule(compiled, attribute, confidence, check, dislike, speaker)


_VERY = r"(?:really |very |pretty |super |so |big |absolutely |highly |severely |deathly |also |quite |now |still )?"
_ARTICLE = r"(?:an? |the )?"

_BE = (
    _rule(rf"{_VERY}allergic to ", "is allergic to", 0.95),
    _rule(r"(?=(?:lactose[- ]intolerant|coeliac|celiac)\b)", "is", 0.95, "short"),
    _rule(rf"{_ARTICLE}(?:now )?(?=(?:strict |lifelong |committed |fully |mostly )?{DIETS}\b)", "diet", 0.95, "diet"),
    _rule(r"(?:originally |actually )?from (?=(?-i:(?:the )?[A-Z]))", "from", 0.9, "place"),
    _rule(r"(?:currently |now |still )?(?:based|situated|settled) (?:in|near|at|out of) ", "lives in", 0.9, "place"),
    _rule(
        rf"(?:already )?(?=(?:\d{{1,3}}|{COUNT_WORD})(?: years? old| yrs? old| (?:months?|weeks?|days?) old|"
        rf" now|(?=\s*(?:[.,!;]|$|and\b|today\b|as of\b|since\b|at last\b|this (?:week|month)\b|already\b|again\b))))",
        "age",
        0.95,
        "age",
    ),
    _rule(r"(?:not )?(?:in a relationship with|dating|seeing) (?=(?-i:[A-Z]))", "partner", 0.85, "short"),
    _rule(
        r"(?:happily |newly |now |still |recently )?(?=(?:single|widowed|separated|divorced|married|engaged)\b)",
        "marital status",
        0.9,
        "marital",
    ),
    _rule(
        (
            r"(?=(?:unemployed|retired|self-employed|between jobs|out of work|jobless|on (?:maternity|parental|"
            r"paternity|sick) leave)\b)"
        ),
        "employment",
        0.9,
        "state",
    ),
    _rule(
        (
            r"(?=(?:catholic|buddhist|muslim|jewish|hindu|christian|atheist|agnostic|an atheist|a christian|"
            r"a muslim|a buddhist)\b)"
        ),
        "religion",
        0.85,
        "short",
    ),
    _rule(rf"(?=(?-i:{NATIONALITIES})\b)", "nationality", 0.85, "nationality"),
    _rule(rf"(?=(?-i:half )?{STATES}\b)", "is", 0.85, "state"),
    _rule(
        (
            rf"{_VERY}(?:an? )?(?:really |very )?(?:big |huge |massive |die-?hard |lifelong |"
            rf"much of an? )?(?:fan|lover) of "
        ),
        "likes",
        0.9,
        "liking",
    ),
    _rule(
        rf"{_VERY}(?:into|passionate about|fond of|keen on|obsessed with|addicted to|crazy about) ",
        "likes",
        0.8,
        "liking",
    ),
    _rule(rf"{_VERY}interested in ", "is interested in", 0.8, "liking"),
    _rule(rf"{_VERY}(?:afraid|scared|terrified) of ", "is afraid of", 0.85, "noun"),
    _rule(r"(?:very |really |pretty |so )?(?:good|bad|terrible) at ", "is good at", 0.7, "liking", speaker=True),
    _rule(r"named after ", "named after", 0.75),
    _rule(rf"an? (?!retired|former)(?=(?:[\w-]+ ){{0,3}}?{OCCUPATIONS}\b)", "works as", 0.9, "occupation"),
    _rule(
        r"(?:an? (?=(?:[\w-]+ ){0,2}(?:(?:retired|former) [\w-]+|student|major|mother|father|mom|mum|dad|parent|"
        r"grandmother|grandfather|widow|widower|native of|citizen|immigrant|twin|only child|member of|"
        r"volunteer|veteran|"
        r"freshman|sophomore|junior|senior|graduate|introvert|extrovert|morning person|night owl|early bird|dog person|"
        r"cat person|homebody|bookworm|foodie|survivor|gamer|collector|runner|owner)\b))",
        "is",
        0.8,
    ),
    _rule(
        r"(?:now )?(?:the )?(?:new )?(?=(?:head|director|chief|vice president|vp|ceo|cto|cfo|manager|team lead) of )",
        "works as",
        0.85,
        speaker=True,
    ),
)
_BORN = (
    _rule(r"(?:born and )?raised in ", "grew up in", 0.9, "place"),
    _rule(r"born in ", "born in", 0.9, "place"),
    _rule(r"born on ", "born on", 0.9, "date"),
)
_HAVE = (
    _rule(rf"(?=(?:severe |chronic |mild |type \w+ |a bit of )?{CONDITIONS}(?!\w))", "suffers from", 0.9),
    _rule(
        r"(?=an? (?:broken|sprained|torn|fractured|twisted|slipped|pulled) \w+|the flu|covid|pneumonia|"
        r"bronchitis|shingles|"
        r"an? (?:(?!wife|husband|friend)[a-z-]+ ){0,2}(?:cough|cold|fever|flu|rash|infection|headache|"
        r"migraine|toothache|sore throat|"
        r"stomach ache|backache|earache|virus|concussion|hernia|ulcer|cramp|swollen \w+|runny nose|"
        r"stiff neck)\b(?! (?:case|drink|beer|call)))",
        "suffers from",
        0.85,
    ),
    _rule(r"(?:an? )?(?:severe |bad |mild |serious )?allergy to ", "is allergic to", 0.9),
    _rule(
        (
            rf"(?:also )?(?!a (?:lot|bunch|ton)\b)(?=(?:{NUMBER} |any )?(?:(?!for\b|of\b|with\b|"
            rf"to\b)[\w'-]+ ){{0,3}}?(?:{KIN}|{PETS}|{THINGS})\b)"
        ),
        "has",
        0.9,
        "having",
    ),
    _rule(
        (
            r"(?=an? (?:[a-z-]+ ){0,2}(?-i:[A-Z](?!onday|uesday|ednesday|hursday|riday|aturday|"
            r"unday)[a-z]+)(?! (?:question|meeting|class|exam|test|party)))"
        ),
        "has",
        0.8,
        "having",
    ),
)
_LIKE = (_rule("", "likes", 0.85, "liking"),)
_HATE = (_rule("", "likes", 0.85, "liking", dislike=True),)
_STATES: dict[str, tuple[Rule, ...]] = {
    "be": _BE,
    "have": _HAVE,
    "live": (
        _rule(r"(?:back |right |just )?(?:in|at|near|on|by|outside|close to) ", "lives in", 0.95, "place"),
        _rule(r"(?:together )?with ", "lives with", 0.9, "place"),
    ),
    "reside": (_rule(r"(?:in|at|near) ", "lives in", 0.95, "place"),),
    "stay": (_rule(r"(?:in|at|with) ", "stays in", 0.8, "place"),),
    "grow": (_rule(r"up (?:in|on|near) ", "grew up in", 0.9, "place"),),
    "come": (_rule(r"(?:originally )?from (?=(?-i:[A-Z]|a ))", "from", 0.85, "place"),),
    "speak": (_rule(r"(?=(?:fluent |some |a little |a bit of |both )?(?-i:[A-Z]))", "speaks", 0.95),),
    "own": (_rule(r"(?=an? |two |three |(?:my|our) own |the |any )", "owns", 0.85),),
    "run": (
        _rule(
            r"(?=(?:an?|my own|the) (?:[\w-]+ ){0,3}?(?:business|shop|store|company|restaurant|bakery|studio|"
            r"school|blog|"
            r"podcast|channel|cafe|café|farm|charity|club|agency|startup|team|department)\b)",
            "runs",
            0.9,
        ),
    ),
    "teach": (_rule(r"(?!you|him|her|them|people how|me|us\b)", "teaches", 0.85, "activity"),),
    "volunteer": (_rule(r"(?:at|for|with|in) ", "volunteers at", 0.9),),
    "learn": (_rule(r"(?:how )?(?:to )?(?!about|that|a lot|so|from|more)", "is learning", 0.8, "activity"),),
    "train": (_rule(r"for ", "is training for", 0.8, "activity"),),
    "major": (_rule(r"in ", "studies", 0.9, "activity"),),
    "collect": (_rule("", "collects", 0.85, "liking"),),
    "drive": (_rule(r"(?=an? |my )", "drives", 0.85), _rule(r"(?=\s*(?:[.,!;]|$|and\b|any))", "drives", 0.85, "habit")),
    "suffer": (_rule(r"from ", "suffers from", 0.9),),
    "practise": (_rule("", "practises", 0.85, "activity"),),
    "practice": (_rule("", "practises", 0.85, "activity"),),
    "smoke": (_rule("", "smokes", 0.85, "habit"),),
    "eat": (_rule("", "eats", 0.85, "food"),),
    "drink": (_rule("", "drinks", 0.85, "food"),),
    "keep": (_rule(rf"(?=(?:{NUMBER} )?(?:[\w'-]+ ){{0,2}}?{PETS}\b)", "has", 0.85, "having"),),
    "do": (
        _rule(
            (
                r"(?=(?:an?|my) (?:[\w'-]+ ){0,2}?(?:phd|degree|masters?|master's|bachelor's|apprenticeship|"
                r"doctorate|internship)\b)"
            ),
            "studies",
            0.85,
            "noun",
        ),
    ),
    "go": (
        _rule(
            r"to (?=(?:the )?(?:[\w'-]+ ){0,3}(?:kindergarten|nursery|preschool|school|college|university|uni)\b)",
            "studies at",
            0.8,
            "noun",
        ),
    ),
    "watch": (_rule(r"", "watches", 0.75, "liking", speaker=True),),
    "wear": (_rule(r"(?=glasses|contact|a hearing|a wheelchair|hearing)", "wears", 0.8),),
    "celebrate": (_rule("", "celebrates", 0.8, "liking", speaker=True),),
    "use": (_rule(r"(?=an? |(?-i:[A-Z]))", "uses", 0.8, speaker=True),),
    "believe": (_rule(r"in (?=god|(?-i:[A-Z]))", "believes in", 0.75),),
    "support": (_rule(r"(?=(?-i:[A-Z]))", "supports", 0.75),),
    "play": (
        _rule(
            r"(?=(?:the |a little |some |in |for |bass|drums|guitar|piano|violin|tennis|golf|chess|football|soccer|"
            r"basketball|baseball|hockey|rugby|cricket|volleyball|badminton|video|board|table|computer|cello|poker|"
            r"squash|padel|bridge|(?!(?:well|hard|along|together|nice|fair|safe|dead|dumb|out|outside|games?|"
            r"music|host|tricks?|"
            r"catch|pretend|hooky|truant|around|alone|part|best|great|good|fine|too|very|really|so|much|more|"
            r"less|it|that|this|"
            r"with|on|at|by|to|up|down|like|and|or|all|only|most|never|now|there|here|home|tag|cupid)\b)"
            r"[a-z-]{4,}(?: (?:polo|tennis|ball|hockey|frisbee))?\s*(?:[.,!;]|$|and\b|for\b|at\b|in\b|with\b|"
            r"now\b|since\b|again\b|"
            r"every\b|on\b|but\b)))",
            "plays",
            0.85,
            "noun",
        ),
    ),
    "love": _LIKE,
    "like": _LIKE,
    "enjoy": _LIKE,
    "adore": _LIKE,
    "prefer": (_rule("", "prefers", 0.85, "liking"),),
    "hate": _HATE,
    "despise": _HATE,
    "loathe": _HATE,
    "detest": _HATE,
    "dislike": _HATE,
    "care": (_rule(r"for (?!my|her|him|them)", "likes", 0.8, "liking"),),
    "identify": (_rule(r"as ", "identifies as", 0.85, "short"),),
    "date": (_rule(r"(?=(?-i:[A-Z]))", "partner", 0.85, "short"),),
    "name": (),
}
_PLAIN_HABITS = frozenset({"eat", "drink"})  # without a "not": too common to be a trait, unless it says how often
_TRAIT = re.compile(
    r"\b(?:again|now|only|mostly|always|every ?day|daily|a lot of|lots of|usually|regularly)\b", re.IGNORECASE
)
_SINCE = re.compile(
    (
        r"\b(?:for (?!an?\b (?!year|month|week|while|decade))(?:[\w-]+ ){0,3}(?:years?|months?|weeks?|"
        r"decades?|while|ages|life|long)|since|all my life|my whole life)\b"
    ),
    re.IGNORECASE,
)
_ALWAYS = re.compile(r"(?P<verb>loved|hated|wanted|enjoyed|dreamed|liked|lived)\b", re.IGNORECASE)
# Those one does not cease to have: denying them says that they never were.
_BORN_WITH = re.compile(r"\b(?:sisters?|brothers?|siblings?|twins?|cousins?|aunts?|uncles?)\b", re.IGNORECASE)
_MEAT = re.compile(
    r"\b(?:meat|fish|chicken|beef|pork|bacon|everything|dairy|eggs|cheese|animal products)\b", re.IGNORECASE
)


def read_state(clause: Clause) -> list[Statement]:
    """The states that a clause names; [] where none is read."""
    if clause.form == "future":
        return []
    if clause.form == "perfect":
        return list(_perfect(clause))
    rules = _STATES.get(clause.lemma, ())
    if clause.lemma == "be" and clause.form == "past":
        rules = _BORN + rules
    for rule in rules:
        m = rule.pattern.match(clause.rest)
        if m is not None and (clause.who.speaker or not rule.speaker):
            return list(_apply(clause, rule, m))
    return []


_AGE = re.compile(
    rf"(?:\d{{1,3}}|{COUNT_WORD})(?:\s+and\s+a\s+half)?(?:\s+(?:years?|yrs?|months?|weeks?|days?)(?:\s+old)?)?\b",
    re.IGNORECASE,
)


def _apply(clause: Clause, rule: Rule, m: re.Match[str]) -> Iterator[Statement]:
    attribute = rule.attribute
    if attribute == "marital status":
        if polarity := _polarity(clause, rule, ""):
            yield from _marital(clause, m.end(), polarity)
        return
    aged = _AGE.match(clause.rest, m.end()) if attribute == "age" else None
    value = aged[0] if aged else value_of(clause.rest[m.end() :], rule.check)
    if value is None:
        return
    upto = m.end() + len(value)
    if clause.lemma in _PLAIN_HABITS and not clause.denied and clause.form == "present":
        if not (_TRAIT.search(clause.rest[: upto + 12]) or clause.keep):
            return
        if attribute == "eats" and _MEAT.search(value):
            yield state(clause, "diet", None, upto, polarity="ended", silent=True)
    polarity = _polarity(clause, rule, value)
    if polarity is None:
        return
    if attribute == "works as":
        yield from _occupation(clause, value, m.end(), upto, polarity, rule.confidence)
    elif attribute == "lives with" and re.match(r"(?:my |the )?(?:parents|family)\b", value):
        yield state(clause, attribute, value, upto, confidence=rule.confidence, polarity=polarity)
    else:
        fixed = attribute in ("born in", "born on", "from", "grew up in")
        yield state(
            clause,
            attribute,
            value or None,
            upto,
            confidence=rule.confidence,
            polarity=("never" if clause.denied else "holds") if fixed else polarity,
            timeless=attribute in ("born on", "age"),
        )


def _polarity(clause: Clause, rule: Rule, value: str) -> Polarity | None:
    from_tense: Polarity
    if rule.dislike:
        if clause.negated or clause.never:
            return None  # "I don't hate it" says little
        return "holds" if False else ("ended" if not clause.ceased and clause.form in ("present", "ing") else None)
    if (
        clause.form == "past"
        and not clause.denied
        and clause.lemma
        in (
            "like",
            "love",
            "enjoy",
            "hate",
            "see",
            "watch",
            "eat",
            "drink",
            "learn",
            "wear",
            "use",
            "play",
            "drive",
            "practise",
            "practice",
            "collect",
            "teach",
            "run",
            "prefer",
            "celebrate",
            "adore",
            "come",
            "stay",
            "care",
        )
    ):
        return None  # an event: "I loved the film"
    if (
        clause.lemma == "be"
        and clause.form == "past"
        and not clause.never
        and rule.attribute
        not in ("works as", "employment", "marital status", "diet", "partner", "born in", "born on", "grew up in")
    ):
        return None
    if clause.lemma == "have":
        if clause.form == "past" and not clause.denied:
            return None
        if clause.denied and not clause.ceased and _BORN_WITH.search(value):
            return "never"
    from_tense = "holds"
    if clause.form in ("past", "perfect") and (clause.negated or clause.never):
        return "never"
    if clause.denied or clause.form in ("past", "used"):
        return "ended"
    return from_tense


def _occupation(
    clause: Clause, value: str, begin: int, upto: int, polarity: Polarity, confidence: float
) -> Iterator[Statement]:
    """ "a nurse at St Mary's" is an occupation and an employer."""
    employer = re.search(
        (
            r"\s(?:at|for|with)\s(?=(?-i:(?:the\s|an?\s(?:\w+\s)*(?:company|startup|firm|hospital|school|"
            r"bank))?[A-Z]|an?\s(?:\w+\s)*(?:company|startup|firm|hospital|school|bank)))"
        ),
        value,
    )
    role = value[: employer.start()] if employer else value
    yield state(clause, "works as", without_article(role), upto, confidence=confidence, polarity=polarity)
    if employer and value[employer.end() :]:
        text = None if not clause.denied else clause.tell(clause.rest[:upto])
        place = value[employer.end() :]
        told = f"{clause.subject} {'works' if polarity == 'holds' else 'worked'} at {place}"
        yield state(clause, "works at", place, upto, confidence=confidence, polarity=polarity, text=text or told)


def _marital(clause: Clause, begin: int, polarity: Polarity) -> Iterator[Statement]:
    """ "married to Sara", "engaged", "divorced from Tom"."""
    m = re.match(
        (
            r"(?P<status>single|widowed|separated|divorced|married|engaged)(?:\s+(?:to|"
            r"from)\s+(?P<partner>(?:(?:my|an?|the)\s+[\w -]{1,24}?(?:\s+(?:called|named)\s+[A-Z]\w+)|(?:(?:my|"
            r"an?|the)\s+)?[\w'-]+(?:\s[A-Z]\w+)?)))?(?=\s*(?:[.,!;)]|$|and\b|but\b|now|again|any|since|for|last|this|"
            r"in\b|with\b))"
        ),
        clause.rest[begin:],
        re.IGNORECASE,
    )
    if m is None or (
        re.search(r"^\s*with\b", clause.rest[begin + m.end() :])
        and m["status"].lower() in ("single", "separated", "engaged")
    ):
        return
    upto = begin + (m.end("partner") if m["partner"] else m.end("status"))
    yield from marriage(clause, m["status"].lower(), m["partner"], upto, polarity=polarity)


def marriage(
    clause: Clause, status: str, partner: str | None, upto: int, *, polarity: Polarity = "holds"
) -> Iterator[Statement]:
    """A marital status, and what it means for the partner."""
    pair = clause.who.pair
    told = clause.tell(clause.rest[:upto])
    people = pair or (clause.subject,)
    for i, person in enumerate(people):
        mate = people[1 - i] if pair else partner
        text = told if i == 0 else f"{person} is {status}"
        whose = f"{status} to {mate}" if mate and status in ("married", "engaged") else status
        yield state(clause, "marital status", whose, upto, confidence=0.9, polarity=polarity, subject=person, text=text)
        if status in ("married", "engaged") and mate and is_named(mate):
            text = f"{person}'s partner {'is' if polarity == 'holds' else 'is no longer'} {mate}"
            yield state(clause, "partner", mate, upto, confidence=0.9, polarity=polarity, subject=person, text=text)
        elif status in ("divorced", "separated", "widowed", "single") and polarity == "holds":
            yield state(clause, "partner", mate, upto, polarity="ended", subject=person, silent=True)


_PERFECT_ING = {
    "live",
    "work",
    "play",
    "learn",
    "study",
    "teach",
    "practise",
    "practice",
    "collect",
    "run",
    "volunteer",
    "date",
    "suffer",
    "smoke",
    "drive",
    "coach",
    "train",
    "dance",
    "paint",
    "write",
    "cook",
    "cycle",
}
_GERUND_ATTRIBUTE = {
    "dance": "practises",
    "paint": "practises",
    "write": "practises",
    "cook": "practises",
    "cycle": "practises",
}


def _perfect(clause: Clause) -> Iterator[Statement]:
    """ "I've lived in Oslo since 2015", "I've been a nurse for ten years", "I've never been to Rome"."""
    rest = clause.rest
    if clause.never and not clause.who.plural:
        m = re.match(r"\s*(?:to\s+)?", rest)
        if (
            clause.lemma in ("live", "work")
            or (clause.lemma == "be" and re.match(r"\s*(?:married|to\b|an?\b)", rest))
            or clause.lemma in ("smoke", "eat", "own", "drive", "travel", "fly", "drink", "learn")
        ):
            value = value_of(rest[m.end() if m else 0 :], "noun")
            if value:
                upto = (m.end() if m else 0) + len(value)
                rules = _STATES.get(clause.lemma, ())
                for rule in rules:
                    if rule.dislike:
                        continue
                    if (hit := rule.pattern.match(rest)) and (v := value_of(rest[hit.end() :], rule.check)):
                        yield state(
                            clause,
                            rule.attribute,
                            v,
                            hit.end() + len(v),
                            polarity="never",
                            confidence=0.8,
                            told=("been " if clause.lemma == "be" else "") + rest[: hit.end() + len(v)],
                        )
                        return
                verb = "go to" if clause.lemma == "be" else clause.verb
                yield state(
                    clause,
                    "did",
                    f"{verb} {value}",
                    upto,
                    polarity="never",
                    confidence=0.75,
                    told=rest[:upto] if clause.lemma != "be" else f"been {rest[:upto].strip()}",
                )
        return
    if clause.denied or not _SINCE.search(rest[:200]):
        return
    lemma = clause.lemma
    for rule in _STATES.get(lemma, ()) + (_BORN if lemma == "be" else ()):
        m = rule.pattern.match(rest)
        if m is None or rule.dislike or (rule.speaker and not clause.who.speaker):
            continue
        value = value_of(rest[m.end() :], rule.check)
        if not value:
            continue
        core = _SINCE.split(value, maxsplit=1)[0].rstrip(" ,")
        upto = m.end() + len(value)
        if core:
            been = "been " if lemma == "be" else ""
            yield state(
                clause,
                rule.attribute,
                without_article(core) if rule.attribute == "works as" else core,
                upto,
                confidence=rule.confidence,
                polarity="holds",
                told=been + rest[:upto],
            )
        return
    if lemma == "work" and (m := re.match(r"\s*(?P<how>as|at|for|in)\s+", rest, re.IGNORECASE)):
        value = value_of(rest[m.end() :], "noun")
        if value:
            core = _SINCE.split(value, maxsplit=1)[0].rstrip(" ,")
            attribute = {"as": "works as", "in": "works in"}.get(m["how"].lower(), "works at")
            yield state(
                clause,
                attribute,
                without_article(core) if attribute == "works as" else core,
                m.end() + len(value),
                confidence=0.9,
                polarity="holds",
            )
        return
    if clause.verb.startswith("been ") and lemma in _GERUND_ATTRIBUTE:
        value = value_of(rest, "lasting") if rest.strip() else None
        if value is not None:
            gerund = clause.verb.split()[-1]
            core = _SINCE.split(f"{gerund} {value}", maxsplit=1)[0].strip()
            yield state(
                clause,
                "practises",
                core,
                len(value) + (len(rest) - len(rest.lstrip())),
                confidence=0.8,
                polarity="holds",
            )


def without_article(value: str) -> str:
    return re.sub(r"^(?:an?|the)\s+", "", value, flags=re.IGNORECASE)
