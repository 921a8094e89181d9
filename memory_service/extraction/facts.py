"""Definite facts in the third person: "The chairperson of Fatah is Mahmoud Abbas", "Chanel was founded by Coco Chanel".

One grammar: who or what, a relation of a copula, verb and prepositions, and a value. It is for sentences that are
such a statement as a whole, as in lists of facts. What can hold only one value (the N of; was founded by) is single.
"""

from __future__ import annotations

import re

from .statement import Statement
from .vocabulary import NOT_PEOPLE, word_set, words

_BULLET = re.compile(r"\s*(?:(?:\d{1,5}[.)]|[-*•])\s+)?")
# "the city of London": the noun says what kind of thing the value is, and belongs to the relation.
_CLASSIFIER = (
    r"the\s+(?:(?:current|original|official)\s+)?(?:city|town|village|country|state|region|province|"
    r"continent|island|language|position|role|sport|religion|faith|field|genre|type|post|office|rank|"
    r"title|county|planet|party|company|name|municipality|district|borough|team|league|profession|"
    r"instrument|discipline|subject|university|college)\s+of"
)
_PREPOSITION = r"(?:in|on|at|by|to|for|with|of|from|as|into|after|under|near)"
_PARTICIPLE = (
    r"(?:[a-z]+ly\s+)?(?:[a-z]+(?:ed|en|wn|lt|ght|un|own)|born|made|built|held|led|won|set|run|begun|"
    r"sung|known|part|famous|based|known|married|native|home)"
)
_RELATION = re.compile(
    rf"\s(?P<relation>(?:is|are|was|were|has been)\s+(?:(?:currently|originally|officially|best|best-|"
    rf"widely|also|now)\s+)?{_PARTICIPLE}(?:\s+{_PREPOSITION})?(?:\s+{_CLASSIFIER})?"
    rf"|(?:is|are|was|were)\s+(?:an?\s+|the\s+)(?:[a-z-]+\s+){{1,3}}?(?:of|for|at|in)(?:\s+{_CLASSIFIER})?"
    rf"|(?:is|are|was|were)\s+{_PREPOSITION}(?:\s+{_CLASSIFIER})?"
    rf"|(?:[a-z]+(?:s|ed)|spoke|wrote|won|led|built|ran|taught|made|held|sang|left|gave|became|"
    rf"grew up)(?:\s+up)?(?:\s+{_PREPOSITION})?(?:\s+{_CLASSIFIER})?)\s+(?P<value>\S.*)$"
)
_OF_IS = re.compile(
    rf"(?P<the>[Tt]he|[Aa]n?)\s+(?P<noun>[A-Za-z][\w'-]*(?:\s+[A-Za-z][\w'-]*){{0,4}}?)\s+(?:of|for|"
    rf"in)\s+(?P<subject>\S.*?)\s+(?P<copula>(?:is|are|was|were)(?:\s+(?:located|based|situated|held|"
    rf"found|played|called|named|known|"
    rf"spoken))?(?:\s+{_PREPOSITION})?(?:\s+{_CLASSIFIER})?)\s+(?P<value>\S.*)$"
)
_WHERE_IS = re.compile(
    r"(?P<subject>[Tt]he\s+[a-z][\w' -]*?\s+(?:where|that|which|who|whose)\s+\S.*?)\s(?P<copula>is|are|"
    r"was(?=\s[A-Z0-9])|were(?=\s[A-Z0-9]))\s+(?P<value>\S.*)$"
)
_POSSESSIVE_IS = re.compile(
    r"(?P<subject>[A-Z0-9][^,;:]*?)(?:'s|"
    r"s')\s+(?P<noun>[a-z][\w-]*(?:\s+[a-z][\w-]*){0,3}?)\s+(?P<copula>is|are|was|"
    r"were)\s+(?P<value>\S.*)$"
)
_PRONOUN = re.compile(
    r"\b(?:I|I'm|I've|me|my|we|us|our|you|your|he|she|it|they|him|her|his|them|their|its|this|that|"
    r"these|those|there|here|who|what|something|anything|everything|someone)\b"
)
_PERSON = re.compile(r"\b(?:I|I'm|I've|me|my|we|us|our|you|your|he|she|it|they|him|her|his|them|their|its)\b")
_SUBORDINATE = re.compile(
    r"[;?!\"“”()]|\s[-–—]\s|,\s+(?:and|but|so|which|who|because|although|while)\b|\b(?:if|unless|"
    r"because|although|though|when|while|whether|would|could|should|might|may|maybe|perhaps|not|never|"
    r"n't|very|really|so|too|just|quite)\b"
)
_ONE_AT_A_TIME = re.compile(
    rf"\b(?:{_CLASSIFIER})$|^(?:is|was|are|were|has been) .*\b(?:by|to|in|at)$|\b(?:citizen|native|"
    rf"resident|capital|employee|president|head|leader|chair\w*|ceo|captain|mayor|king|queen)\b|"
    rf"\b(?:famous|known) (?:for|as)$|^(?:died|born) "
)
_MANY = re.compile(
    r"\b(?:fan|friend|member|part|one|some|kind|sort|type|lot|lover|player)\b|\b(?:used|related|similar|"
    r"due|going|able|likely|interested|allergic|addicted|tired|scared|looking|located near|connected|"
    r"known to|opposed|added|able|made|used) (?:to|in|at)$"
)
_SAME_AS = {"married to": "partner", "engaged to": "partner", "citizen of the": "citizen of"}
_PARTICLES = word_set("""
    of the de du da di del der van von and for la le al el & on in to at with from by a an et y ibn bin
    """)
_NOT_SUBJECTS = NOT_PEOPLE | word_set("""
    there here some many most all it
    """)
_VERB_RELATIONS = re.compile(
    r"^(?:is|are|was|were|has been)\b|^(?:plays|speaks|worked|works|lived|lives|died|studied|studies|"
    r"teaches|taught|played|spoke|wrote|founded|created|"
    r"invented|discovered|directed|produced|composed|performed|owns|owned|leads|led|heads|headed|"
    r"governs|borders|won|married|represents|represented|"
    r"serves|served|manufactures|makes|made|operates|runs|hosts|hosted|broadcasts|publishes|published|"
    r"developed|designed|built|joined|graduated|"
    r"follows|practises|practices|belongs|competes|competed|moved|grew up|costs|contains|uses|supports|"
    r"employs|employed|reports|manages|holds|held)\b"
)


def read_line(line: str, offset: int, *, listed: bool = False) -> Statement | None:
    """The fact that a line (or sentence) is as a whole, without its number or bullet; else None.

    offset: of the line in its message. listed: it stands in a list of facts, where relations are taken more freely
    and each is a slot with one value.
    """
    lead = _BULLET.match(line)
    begin = lead.end() if lead else 0
    body = line[begin:].rstrip()
    body = (
        body[:-1].rstrip()
        if body.endswith(".") and not re.search(r"\b(?:[A-Z]|Inc|Ltd|Co|Jr|Sr|St)\.$", body)
        else body
    )
    if listed and body.endswith("."):
        body = body[:-1]
    if not 8 <= len(body) <= 240 or len(body.split()) > 30:
        return None
    found = _by_noun(body, listed) or _by_relation(body, listed)
    if found is None:
        return None
    subject, attribute, value, single = found
    if not value or (_PRONOUN.search(value) and not listed):
        return None
    end = offset + begin + len(body)
    return Statement(
        body, subject, attribute, value, offset + begin, end, 0.75 if listed else 0.65, single=single or listed
    )


_Found = tuple[str, str, str, bool]


def _by_noun(body: str, listed: bool) -> _Found | None:
    """ "The N of X is V", "the N where ... is V", "X's N is V"."""
    for pattern in (_WHERE_IS, _OF_IS, _POSSESSIVE_IS):
        m = pattern.match(body)
        if m is None:
            continue
        value = m["value"].strip()
        subject = m["subject"].strip()
        if re.match(r"(?:[Mm]y|[Oo]ur|[Yy]our|[Hh]is|[Hh]er|[Tt]heir)\s+[a-z]", subject):
            continue
        if not listed and (
            not (_telling(value) or pattern is _WHERE_IS)
            or (_PERSON if pattern is _WHERE_IS else _PRONOUN).search(subject)
        ):
            continue
        if not listed and _SUBORDINATE.search(body.replace(" which ", " ") if pattern is _WHERE_IS else body):
            continue
        if pattern is _WHERE_IS:
            if not listed and not (value[:1].isupper() or re.search(r"\s[A-Z]", subject)):
                continue
            return _lowered(subject), "is", value, True
        copula = re.sub(r"^(?:is|are|was|were)\b", "", re.sub(r"\s+", " ", m["copula"])).strip()
        noun = " ".join(m["noun"].lower().split())
        if not listed and m["noun"][0].isupper() and not re.match(r"(?:[A-Z][\w'-]*\s+)+[A-Z]", value):
            continue  # "The Bank of England is British" is no office and its holder
        attribute = " ".join(filter(None, (noun, copula)))
        if (
            noun
            in ("rest", "best", "worst", "most", "one", "kind", "sort", "part", "idea", "thing", "point", "way", "lot")
            and not listed
        ):
            return None
        return subject, attribute, value, True
    return None


def _lowered(subject: str) -> str:
    return subject[:1].lower() + subject[1:] if subject.startswith(("The ", "A ", "An ")) else subject


def _telling(value: str) -> bool:
    """A name, a number or a code: not an opinion."""
    return (
        bool(re.match(r"(?:(?:the|an?|in|on|at|about|around|called)\s+)?(?:[A-Z0-9#$€£@]|[\w-]*\d)", value))
        and len(value.split()) <= 8
    )


def _by_relation(body: str, listed: bool) -> _Found | None:
    m = _RELATION.search(body)
    while m is not None:
        subject = body[: m.start()].strip()
        relation = " ".join(m["relation"].lower().split())
        if subject and _is_relation(relation, listed) and _is_subject(subject, listed or "the " in relation):
            value = m["value"].strip()
            classified = re.search(rf"{_CLASSIFIER}$", relation)
            if not listed and (
                not (classified or re.match(r"(?:the\s+|an?\s+)?[A-Z0-9]", value))
                or _SUBORDINATE.search(body)
                or not _single(relation)
            ):
                return None
            attribute = re.sub(r"^(?:is|are|was|were|has been)\s+(?:an?\s+|the\s+)?", "", relation)
            attribute = _SAME_AS.get(attribute) or re.sub(r"^(born|died) in\b.*", r"\1 in", attribute)
            return subject, attribute or "is", value, _single(relation)
        m = _RELATION.search(body, m.start() + 1)
    return None


def _is_relation(relation: str, listed: bool) -> bool:
    return bool(_VERB_RELATIONS.match(relation))


def _is_subject(subject: str, listed: bool) -> bool:
    parts = subject.split()
    if len(parts) > 12 or (
        parts[0].lower() in _NOT_SUBJECTS
        and not (len(parts) > 1 and (listed or (parts[1][:1].isupper() and parts[0][:1].isupper())))
    ):
        return False
    if listed:
        return True
    return (
        all(not part[:1].isalpha() or not part.islower() or part in _PARTICLES for part in parts)
        and not parts[0].islower()
    )


def _single(relation: str) -> bool:
    return bool(_ONE_AT_A_TIME.search(relation)) and not _MANY.search(relation)


_TIME_WORD = (
    r"every\s+(?:other\s+)?(?:\w+day|week|month|morning|evening)|(?:on\s+|at\s+|in\s+)?(?:(?:next|"
    r"this)\s+\w+|(?:mon|tues|wednes|thurs|fri|satur|sun)days?|tomorrow|tonight|\d{1,2}(?::\d\d|"
    r"\s?[ap]m\b|(?:st|nd|rd|th)?\s+(?:of\s+)?(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)\w*)|"
    r"january|february|march|april|june|july|august|september|october|november|december|may\s+\d|"
    r"the\s+\d{1,2}(?:st|nd|rd|th)|noon|midnight)"
)
_DATA_NOUN = words(
    """
    password passcode code pin username login number address email e-mail budget deadline price cost rent salary
    version port url link key owner lead host venue location date time size capital title id token branch codeword
    limit target quota extension combination birthday anniversary colou?r plate stop gate seat room handle nickname
    alias account wifi
    """
)
_EVERYDAY = re.compile(
    rf"(?:(?:[Tt]he|[Mm]y|[Oo]ur)\s+|(?P<owner>[A-Z]\w+(?: and "
    rf"[A-Z]\w+)?)'s\s+)(?P<what>(?:[\w'&/-]+\s+){{0,4}}?[\w'&/-]+)\s+(?P<copula>is\s+(?:now\s+)?(?:planned|"
    rf"scheduled|set|booked|due)(?:\s+for)?|is|are|was|will be|starts|begins|is now|'s)\s+(?:now\s+|"
    rf"actually\s+|still\s+)?"
    rf"(?:(?P<when>(?i:{_TIME_WORD}).*)|(?P<where>(?:in|at)\s+(?:room\s|the\s(?!moment|same|middle|end|"
    rf"way)|[A-Z]|\d).*)|(?P<value>\S.*))$"
)
# "Choir practice is every Monday": a thing without an article, where it comes again and again.
_REGULAR = re.compile(
    r"(?:[Ff]rom\s+(?:this|next|"
    r"\w+)\s+(?:\w+\s+)?on,?\s+)?(?P<owner>[A-Z]\w+(?='s\s))?(?:'s\s+)?(?P<what>[A-Za-z][\w-]*(?:\s+[a-z][\w-]*){0,3}?)\s+(?P<copula>is|"
    r"are|is now)\s+(?:now\s+)?"
    r"(?P<when>every\s+(?:other\s+)?(?:\w+day|week|month|morning|evening).*|on\s+\w+days\b.*)(?P<where>)(?P<value>)$"
)
_DATA_END = re.compile(rf"\b{_DATA_NOUN}(?:\s+(?:on|for|of|at|to)\s+(?:the\s+)?[\w ]+)?$", re.IGNORECASE)


def read_everyday(sentence: str, offset: int, speaker: str) -> Statement | None:
    """ "The meeting is on Tuesday", "The wifi password is hunter2": definite things, with a time, place or datum."""
    lead = re.match(
        (
            r"\s*(?:(?:[Ss]o|[Aa]nd|[Bb]ut|[Ww]ell|[Aa]lso|[Oo]k(?:ay)?|FYI|BTW|[Bb]tw|[Aa]ctually|[Nn]ow|"
            r"[Nn]ote|[Rr]eminder|[Uu]pdate),?:?\s+)*"
        ),
        sentence,
    )
    begin = lead.end() if lead else 0
    body = sentence[begin:].rstrip()
    m = _EVERYDAY.match(body) if len(body) <= 160 else None
    m = m or (_REGULAR.match(body) if len(body) <= 160 else None)
    if (
        m is None
        or _PRONOUN.search(m["what"])
        or re.search(
            (
                r"\b(?:if|would|could|might|may be|not|n't|who|which|that|one|thing|only|same|way|reason|problem|"
                r"best|most)\b"
            ),
            m["what"],
        )
    ):
        return None
    what = m["what"].lower() if m["what"][1:].islower() else m["what"]
    if m["when"]:
        value = m["when"]
        attribute = "time" if re.match(r"(?:at\s+)?(?:\d{1,2}(?::\d\d|\s?[ap]m\b)|noon|midnight)", value) else "date"
        if m["copula"] == "was" or re.match(r"in\s+(?:a|the)\b", value):
            return None
    elif m["where"]:
        if m["copula"] != "is" or not _PLACEABLE.search(what):
            return None
        attribute, value = "place", m["where"]
    else:
        value, attribute = m["value"], "is"
        if not _DATA_END.search(what) or m["copula"] not in ("is", "is now", "'s") or not _datum(value):
            return None
    value = re.split(
        r"(?:,?\s+(?:and|but|so|because|since|which|instead|not|now|from\s+now\s+on|these\s+days|again)\b|[,;!?])",
        value,
        maxsplit=1,
    )[0].rstrip(" .")
    if not value or len(value.split()) > 8:
        return None
    text = body[: m.start("when" if m["when"] else "where" if m["where"] else "value") + len(value)]
    text = re.sub(r"^(?:[Mm]y|[Oo]ur)\b", f"{speaker}'s", text)
    value = re.sub(r"^(?:on|at|in)\s+", "", value) if attribute in ("time", "date", "place") else value
    end = offset + begin + m.start("when" if m["when"] else "where" if m["where"] else "value") + len(value)
    end = offset + begin + len(body[: body.find(value, m.start("copula")) + len(value)])
    recurring = bool(re.search(r"days\b|^every", value)) or (
        attribute == "time" and re.fullmatch(r"\d{1,2}(?::\d\d)?\s?(?:[ap]m)?", value) is not None
    )
    subject = f"{m['owner']}'s {what}" if m["owner"] else f"the {what}"
    return Statement(
        text[:1].upper() + text[1:],
        subject,
        attribute,
        value,
        offset + begin,
        end,
        0.8,
        single=True,
        timeless=recurring,
    )


_PLACEABLE = re.compile(
    r"\b(?:meeting|office|party|wedding|conference|class|interview|appointment|event|workshop|dinner|"
    r"lunch|game|match|concert|key|keys|ceremony|reception|race|course|exam|standup|stand-up|venue|"
    r"session|hotel|gym|school|studio|restaurant|headquarters)$"
)


def _datum(value: str) -> bool:
    first = value.split()[0].rstrip(".,;")
    return (
        bool(re.search(r"[\d@#_/$€£]|[a-z][A-Z]", first))
        or first[:1].isupper()
        or (
            len(value.rstrip(" .").split()) == 1
            and not re.match(
                (
                    r"(?:wrong|right|correct|great|good|bad|fine|ok|okay|lost|broken|long|high|low|ready|due|important|"
                    r"tight|changed|new|old|same|different|huge|small|big|unknown|crazy|here|there|up|over|nice|too|so|"
                    r"very)$"
                ),
                first,
            )
        )
    )
