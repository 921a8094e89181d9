"""What was said of one attribute of one subject -> what held when. Pure: no tables.

`fold` is a function of the set of statements, whatever order they were learned in: an older message that arrives
late gives the same spans as it would have given in its time. Time in the world orders them: when a statement says
since when it holds, that; else when it was said.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Literal

from .extraction.types import Polarity

Standing = Literal["open", "approved", "refused"]

MIN_CONFIDENCE = 0.6  # of a statement, below which it ends nothing until a person agrees
# "I moved last March", said in April, begins on 1 March; who said on the 10th to live elsewhere moved after that.
SLIP = timedelta(days=62)
FRESH = timedelta(days=2)  # "Correction: I am allergic to cashews" is of what was said yesterday, not last year
REFINED = frozenset(
    {"marital status", "lives in", "stays in", "has", "owns", "studies at"}
)  # "Oslo" and "Oslo, Norway" are one value
STRICT = frozenset({"likes", "eats", "drinks", "prefers"})  # who hates coffee ice cream may like coffee
PLANS = frozenset({"plans", "wants to"})

_WORD = re.compile(r"[^\W_]+(?:[.'’@+-][^\W_]+)*[+#]*")


def _word_set(text: str) -> frozenset[str]:
    return frozenset(text.split())


_EMPTY = _word_set("""
    a an the my your his her its our their this that some any of in at to for with on by from and named called
    city country town state just new own really very
    """)
_VERBS = _word_set("""
    go going gone went move moving moved visit visiting visited travel travelling traveling trip fly flying take
    taking took get getting got buy buying bought start starting started run running ran be become becoming do doing
    did have having had attend attending attended see seeing saw make making made join joining joined learn learning
    play playing played try trying tried plan planning planned
    """)
_ANY_PLAN = frozenset({"trip", "plan", "holiday", "vacation", "journey", "event", "it", "idea", "visit"})


@dataclass(frozen=True, slots=True)
class Said:
    """One statement. key: its own, unlike any other's, and in the order in which it was learned.

    at: since when it holds; said_at: when it was said. dated: `at` was given by the statement. standing: a person's
    word on whether it may end others. by_hand: it was written through the API. beside: it was said to hold as well, so
    that it ends no other value of an attribute that has one at a time.
    """

    key: int
    value: str | None
    text: str
    at: datetime
    said_at: datetime
    polarity: Polarity = "holds"
    until: datetime | None = None
    dated: bool = False
    corrects: bool = False
    instead_of: str | None = None
    silent: bool = False
    confidence: float = 1.0
    standing: Standing = "open"
    by_hand: bool = False
    beside: bool = False


@dataclass(slots=True)
class Span:
    """What was said again and again without a change between. end: None while it lasts. retracted: it never held."""

    said: list[Said]
    start: datetime
    end: datetime | None = None
    ended_by: Said | None = None
    retracted: bool = False

    @property
    def polarity(self) -> Polarity:
        return self.said[0].polarity

    @property
    def value(self) -> str | None:
        return self.best.value

    @property
    def best(self) -> Said:
        """The statement whose words stand for the span: by hand before all, then the fullest, then the first."""
        return max(self.said, key=lambda s: (s.by_hand, len(content(s.value)), -s.said_at.timestamp(), -s.key))

    @property
    def by_hand_at(self) -> datetime | None:
        return max((s.said_at for s in self.said if s.by_hand), default=None)


@dataclass(frozen=True, slots=True)
class Doubt:
    """An ending that waits for a person: `by` would end the spans, but is unsure, or may mean any of several."""

    by: Said
    spans: tuple[Span, ...]
    reason: str


@dataclass(slots=True)
class Timeline:
    spans: list[Span] = field(default_factory=list)
    doubts: list[Doubt] = field(default_factory=list)


def fold(statements: Iterable[Said], *, single: bool, attribute: str = "") -> Timeline:
    """Spans by start. single: one value at a time.

    - holds: ends what else held (where single), and the denial of itself.
    - ended: ends the value that it names, or all where it names none, and stands as a denial itself, unless silent.
    - never, corrects: what it takes back is retracted; a corrected value holds from where the wrong one did.
    """
    statements = list(statements)
    line = Timeline()
    for said in sorted(_settle_times(statements), key=lambda s: (s.at, s.said_at, s.key)):
        start = said.at
        affected = _affected(line, said, single=single, attribute=attribute)
        if affected:
            doubt = _doubt(said, affected, single=single)
            if doubt:
                line.doubts.append(Doubt(said, tuple(affected), doubt))
            else:
                start = _end(affected, said, start)
        _open(line, said, start, single=single, refined=attribute in REFINED)
    line.spans.sort(key=lambda span: (span.start, span.said[0].key))
    return line


def _settle_times(statements: Sequence[Said]) -> Iterable[Said]:
    """Moves a dated change behind what was said of the present shortly after that date, and before the message."""
    present = [said for said in statements if not said.dated and said.polarity == "holds"]
    for said in statements:
        if said.dated and said.corrects and said.polarity == "holds":
            wrong = [other.at for other in statements if other.said_at < said.said_at and _against(said, other)]
            yield replace(said, at=max([said.at, *(at + timedelta(microseconds=1) for at in wrong)]))
            continue
        if said.dated and said.polarity != "never":
            between = [
                other.at
                for other in present
                if said.at < other.at < said.said_at and other.at - said.at <= SLIP and _against(said, other)
            ]
            if between:
                yield replace(said, at=max(between) + timedelta(microseconds=1))
                continue
        yield said


def _against(said: Said, other: Said) -> bool:
    if said.polarity == "holds":
        return not same_value(other.value, said.value)
    return said.value is None or names(said.value, other.value)


def _affected(line: Timeline, said: Said, *, single: bool, attribute: str) -> list[Span]:
    """The open spans that the statement would end or take back."""
    open_spans = [span for span in line.spans if span.end is None and not span.retracted]
    holding = [span for span in open_spans if span.polarity == "holds"]
    refined, loose = attribute in REFINED, attribute not in STRICT
    if said.polarity != "holds":
        if said.value is None or (attribute in PLANS and _things(said.value) <= _ANY_PLAN):
            return holding
        return [span for span in holding if names(said.value, span.value, loose=loose)]
    denials = [span for span in open_spans if span.polarity != "holds"]
    ends = [s for s in denials if s.value is None or same_value(s.value, said.value, refined=refined)]
    if said.corrects and said.instead_of:
        wrong = [span for span in holding if names(said.instead_of, span.value)]
        return ends + (wrong or [s for s in holding if single and not same_value(s.value, said.value)])
    if said.corrects and not single:
        return ends + _just_said(holding, said)
    if single and not said.beside and not _stands_beside(holding, said, refined=refined):
        ends += [span for span in holding if not same_value(span.value, said.value, refined=refined)]
    return ends


def _just_said(holding: Sequence[Span], said: Said) -> list[Span]:
    """What a correction takes back that does not say what: the other value that was said last, not long ago."""
    others = [span for span in holding if not same_value(span.value, said.value)]
    last = max(others, key=lambda span: max((s.said_at, s.key) for s in span.said), default=None)
    fresh = last is not None and said.said_at - max(s.said_at for s in last.said) <= FRESH
    return [last] if last is not None and fresh else []


def _stands_beside(holding: Sequence[Span], said: Said, *, refined: bool) -> bool:
    """Whether a person decided that this value ends no other; saying it again does not undo that."""
    return said.standing != "approved" and any(
        same_value(span.value, said.value, refined=refined) and any(s.standing == "refused" for s in span.said)
        for span in holding
    )


def _doubt(said: Said, affected: Sequence[Span], *, single: bool) -> str:
    """Why the statement may not end these without a person's word, or ""."""
    if said.standing == "approved" or said.by_hand:
        return ""
    if said.standing == "refused":
        return "refused"
    if said.confidence < MIN_CONFIDENCE:
        return f"its confidence is {said.confidence:.2f}, below {MIN_CONFIDENCE}"
    holding = [span for span in affected if span.polarity == "holds"]
    if said.polarity != "holds" and said.value is not None and not single and len(holding) > 1:
        exact = [span for span in holding if same_value(span.value, said.value)]
        if len(exact) != 1:
            return f"it may mean any of {len(holding)}"
    return ""


def _end(affected: Sequence[Span], said: Said, start: datetime) -> datetime:
    """Ends or retracts the spans; returns since when the statement's own value holds."""
    exact = [span for span in affected if span.polarity == "holds" and same_value(span.value, said.value)]
    if said.polarity != "holds" and len(exact) == 1:
        affected = exact
    for span in affected:
        by_hand_at = span.by_hand_at
        if by_hand_at is not None and said.said_at <= by_hand_at and not said.by_hand:
            continue  # who wrote it by hand knew better than what had been said till then
        span.ended_by = said
        if said.polarity == "never" or (said.corrects and said.polarity == span.polarity == "holds"):
            span.retracted, span.end = True, span.start
            if said.polarity == "holds":
                start = min(start, span.start)
        else:
            span.end = max(start, span.start)
    return start


def _open(line: Timeline, said: Said, start: datetime, *, single: bool, refined: bool) -> None:
    """Joins the statement to the span that says the same, or begins one."""
    if said.silent:
        return
    for span in line.spans:
        same_side = (span.polarity == "holds") == (said.polarity == "holds")
        if span.end is None and same_side and same_value(span.value, said.value, refined=refined):
            span.said.append(said)
            span.start = min(span.start, start)
            return
    span = Span([said], start)
    newer = _protected(line, said) if single else None
    if newer is not None:
        span.end, span.ended_by = max(start, min(newer.start, said.said_at)), newer.best
    elif said.until is not None and said.polarity == "holds":
        span.end = max(start, said.until)
    line.spans.append(span)


def _protected(line: Timeline, said: Said) -> Span | None:
    """The span by hand that the statement tried to end, and could not."""
    if said.polarity != "holds" or said.by_hand:
        return None
    for span in line.spans:
        at = span.by_hand_at
        if span.end is None and at is not None and said.said_at <= at and span.polarity == "holds":
            return span if not same_value(span.value, said.value) else None
    return None


# Values


def content(value: str | None) -> tuple[str, ...]:
    """The words of a value that tell it from others, in order."""
    words = [word.casefold().replace("’", "'").removesuffix("'s") for word in _WORD.findall(value or "")]
    return tuple(word for word in words if word not in _EMPTY) or tuple(words)


def same_value(left: str | None, right: str | None, *, refined: bool = False) -> bool:
    """Whether two values are one; refined: also where one says the other more fully."""
    if left is None or right is None:
        return left is right
    ours, theirs = content(left), content(right)
    if ours == theirs:
        return True
    return refined and bool(ours) and bool(theirs) and (set(ours) <= set(theirs) or set(theirs) <= set(ours))


def names(mention: str | None, value: str | None, *, loose: bool = True) -> bool:
    """Whether a mention ("Rex", "the trip to Rome") can mean the value ("a dog named Rex", "go to Rome").

    loose: it may say more than the value does ("my dog Rex" of "a dog").
    """
    ours, theirs = _things(mention), _things(value)
    if len(ours) == 1 and theirs & _KINDS.get(next(iter(ours)), frozenset()):
        return True
    return bool(ours) and bool(theirs) and (ours <= theirs or (loose and theirs <= ours))


# "No alcohol" means no whisky either. A kind that stands alone names all of its members.
_KINDS = {
    "alcohol": _word_set(
        "beer wine whisky whiskey vodka gin rum cocktail champagne cider prosecco sherry tequila brandy"
    ),
    "meat": _word_set("beef pork chicken lamb steak bacon ham sausage turkey veal burger"),
    "dairy": _word_set("milk cheese butter yoghurt yogurt cream"),
    "caffeine": _word_set("coffee espresso tea cola"),
    "seafood": _word_set("fish shrimp prawn crab lobster mussel oyster salmon tuna"),
    "fish": _word_set("salmon tuna cod herring trout sushi"),
    "sugar": _word_set("candy sweet chocolate dessert cake soda"),
    "soda": _word_set("cola coke lemonade pepsi"),
    "pasta": _word_set("spaghetti lasagne lasagna noodle"),
}


def _things(value: str | None) -> frozenset[str]:
    words = frozenset(_singular(word) for word in content(value))
    return words - _VERBS or words


def _singular(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word


def subject_key(subject: str) -> str:
    """The name by which statements of one subject meet."""
    words = [word.casefold().replace("’", "'") for word in _WORD.findall(subject)]
    return " ".join(word for word in words if word not in ("the", "a", "an")) or " ".join(words)
