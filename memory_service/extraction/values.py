"""The value of a statement: where it ends in a clause, and whether it means something outside of its sentence."""

from __future__ import annotations

import re
from collections.abc import Callable

from .verbs import VERBS
from .vocabulary import PETS, THINGS

MAX_VALUE_WORDS = 12
# "hiking and painting" is a list; "Oslo and started" is not.
_FINITE = "|".join(sorted((word for word, verb in VERBS.items() if "past" in verb.forms), key=len, reverse=True))
# Where a value ends. A comma ends it too, except inside of a list (see LIST).
BOUNDARY = re.compile(
    r"\s*(?:[;!?…]|:(?!\d)|[\[\]()\"“”*]|\.(?=\s|$)|\s[-–—]+\s|[–—]|--"
    r"|,?\s+(?:but|because|cause|'cause|so|which|who(?=\s)|when|whenever|"
    r"while|though|although|where|unless|if|until|even though|since\s+(?:i|"
    r"it|my|we)|as\s+(?:it|i|they|we|well)\b|too\b"
    r"|especially|like|right now|at the moment|these days|nowadays|lol|"
    r"haha|actually|honestly|a lot\b(?! of)|every (?:now and then|once "
    r"in a while)|from time to time|so much|very much|the most"
    r"|and\s+(?:i|i'm|i've|i'd|i'll|my|it|it's|its|we|we're|they|they're|"
    r"he|he's|she|she's|that|that's|this|these|those|you|there|then|just|"
    r"also|even|now|always|never|have|has|had|am|is|are|was|were|want|"
    r"would|can|can't|could|will|got|get|"
    rf"(?:{_FINITE})\b|eats|drinks|eat|drink|works|lives|goes|does|speaks|owns|drives|loves|likes|hates|teaches|"
    r"love|hate|enjoy|like|live|work|play|speak|used|don't|not|how|what|"
    r"think|feel|try|try to|started|teach|own|allergic|from)"
    r"|that\s+(?:i|i'm|i've|my|it|we|he|she|they|you|is|are|was|has|have)|"
    r"i|i'm|i've|we|we're|it's|it|they|he|she)(?=\s|$|[,.!?;'])"
    r"|\s+as\s+well\b|[^\w\s,.'’&/%+#$€£°@:-])",
    re.IGNORECASE,
)
_ITEM = (
    r"(?!(?:and|or|i|it|but|so|you|we|that|which|who|then|not|too|because|"
    r"just|though|is|was|are)\b)[\w'&-]+(?: [\w'&-]+){0,3}"
)
LIST = re.compile(rf"[^,]+(?:, {_ITEM})*,? (?:and|or|&) {_ITEM}$|[^,]+(?:, {_ITEM}){{2,}}$", re.IGNORECASE)
POINTS_OUTSIDE = re.compile(
    r"\b(?:you|your|yours|you're|yourself|u|ur|we|our|us|ours|i|i'm|i've|"
    r"i'll|myself|him|his|her|hers|their|them|they|they're|he|she|it|"
    r"its|it's"
    r"|this|that|these|those|here|there|such|same|something|anything|"
    r"everything|things?|stuff|one|ones|both|what|how|why|who|whom|whatever|"
    r"another|other|others|former|latter|either|neither|kinda|idea|else|"
    r"way)\b",
    re.IGNORECASE,
)
DEFINITE_OK = re.compile(
    r"the (?:beach|outdoors|ocean|sea|seaside|mountains?|countryside|"
    r"city|snow|rain|sun|sunshine|gym|water|woods|forests?|piano|guitar|"
    r"drums|violin|cello|flute|"
    r"saxophone|trumpet|harp|ukulele|viola|clarinet|cold|heat|summer|"
    r"winter|autumn|fall|spring|morning|night|park|theat(?:er|re)|opera|"
    r"cinema|arts|desert|colou?r (?:red|blue|green|pink|purple|yellow|"
    r"orange|black|white)|smell of|sound of|"
    r"feeling of|sight of|taste of|history of|(?-i:[A-Z]))\b",
    re.IGNORECASE,
)
WEAK_LIKES = re.compile(
    r"(?:to (?:see|hear|know|think|say|talk about|believe|help|meet|be|"
    r"get|do|have|go|come|call|thank|add|share|show|ask|tell|hang out|"
    r"chat|try)\b(?! [\w-]+ing\b| (?-i:[A-Z])| to the | fishing| (?:music|"
    r"people))"
    r"|being\b|having\b|seeing\b|hearing\b|getting\b|knowing\b|making\b(?= "
    r"(?:a|people)\b)|doing\b|going\b(?! (?:to the|out|for|hiking|camping|"
    r"on))|meeting\b|talking\b|hanging\b|finding\b|when\b|all\b|each\b|"
    r"every\b|any\b|some\b|lots?\b|a (?:lot|good|bit|great|little|ton|"
    r"bunch)\b|more\b|much\b|very\b|about\b|for\b|not\b|no\b|and\b|or\b|"
    r"with\b|on\b|at\b|in\b|of\b|as\b|my (?:new|job|life|time|own)\b|"
    r"crazy\b|absolutely\b|hard(?:er)?$|well$|\w+ly\b$)",
    re.IGNORECASE,
)
VAGUE_PLACE = re.compile(
    r"(?:an? (?:world|society|way|time|place|bubble|dream|state|hurry|"
    r"good|great|bit|few|really)|fear|peace|harmony|hope|the (?:moment|"
    r"past|present|future|now|country\b(?!side)|same|middle of nowhere)|"
    r"general|fact|love|my head|hell|debt|constant)\b",
    re.IGNORECASE,
)
# What says nothing at the end of a value, and prepositions that lost their object.
TAIL = re.compile(
    r"(?:(?:^|[\s,]+)(?:any ?more|any longer|yet|after all|instead|finally|these days|full[- ]time|"
    r"part[- ]time|for good|too|either|myself|now|also|again|tho|though|as "
    r"well|anyway|more|most|and|or|in|on|at|for|with|of|the|a|an|to|is|"
    r"are|was|really|very much|lately|recently|together|all the time|"
    r"right|man|so far|by|about|from))+[\s,]*$",
    re.IGNORECASE,
)


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
        r"^(?:much|bit|little|huge|big|terrible|bad|good|great|better|quick|slow|"
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


def _is_food(value: str) -> bool:
    if value.lower() == "everything":
        return True
    return _is_noun(value) and not re.match(
        r"(?:out|in|at|with|up|well|early|late|before|after|like|lunch|dinner)\b", value
    )


def _is_nationality(value: str) -> bool:
    return len(value.split()) <= 3 and _is_noun(value)


def _is_date(value: str) -> bool:
    return bool(re.search(r"\d", value))


_CHECKS: dict[str, Callable[[str], bool]] = {
    "noun": _is_noun,
    "liking": _is_liking,
    "activity": _is_activity,
    "place": _is_place,
    "having": _is_having,
    "acquired": _is_acquired,
    "state": _is_state,
    "marital": lambda value: True,
    "occupation": _is_occupation,
    "short": _is_short,
    "age": lambda value: len(value.split()) <= 4,
    "diet": _is_short,
    "lasting": _is_lasting,
    "event": _is_noun,
    "habit": _is_noun,
    "food": _is_food,
    "nationality": _is_nationality,
    "date": _is_date,
    "free": lambda value: True,
}


def value_of(rest: str, check: str) -> str | None:
    """The value that `rest` begins with, as said; None where it is too long, empty or points elsewhere.

    check: a key of _CHECKS. "event" and "habit" may be empty.
    """
    rest = rest[:400]
    boundary = BOUNDARY.search(rest)
    value = rest[: boundary.start()] if boundary else rest
    pronoun = boundary and boundary[0].strip().lower() in ("i", "i'm", "i've", "we", "it", "he", "she", "they")
    if pronoun and "," not in value:
        return None  # a relative clause without its pronoun: "the house I bought"
    if "," in value and not LIST.fullmatch(value.rstrip(" ,.")):
        value = value.split(",", 1)[0]
    value = TAIL.sub("", value).rstrip(" ,.'-")
    if len(value.split()) > MAX_VALUE_WORDS or not value.strip():
        return "" if not value.strip() and check in ("event", "habit") else None
    return value if _CHECKS[check](value.strip()) else None


def is_named(value: str) -> bool:
    """Whether it begins with a capital, after an article: "Sara", "the Netherlands"."""
    return bool(re.match(r"(?:the\s+)?[A-Z0-9]", value))
