"""What a message states, before it becomes a candidate."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .clauses import Clause
from .types import Polarity

OTHERS = 0.85  # of the confidence that a statement about oneself has


@dataclass(frozen=True, slots=True)
class Statement:
    """text: "Alex lives in Oslo". [start, end): the clause in the message that was read.

    The other fields are those of a Candidate. timeless: a date in it is the value, or comes again and again.
    """

    text: str
    subject: str | None
    attribute: str | None
    value: str | None
    start: int
    end: int
    confidence: float
    polarity: Polarity = "holds"
    single: bool | None = None
    corrects: bool = False
    instead_of: str | None = None
    silent: bool = False
    timeless: bool = False
    was: bool = False  # a state of the past, which held at the time that is named


_WAS = frozenset(["live", "work", "reside", "stay", "be", "study", "own", "volunteer"])


_LEFT = re.compile(r"\b(?:fired|laid|let go|dismissed|sacked|redundant)\b")


def state(
    clause: Clause,
    attribute: str,
    value: str | None,
    upto: int,
    *,
    confidence: float = 0.85,
    polarity: Polarity | None = None,
    told: str | None = None,
    text: str | None = None,
    silent: bool = False,
    single: bool | None = None,
    subject: str | None = None,
    timeless: bool = False,
) -> Statement:
    """The statement that a clause makes with its rest up to `upto`; its polarity is the clause's if none is given."""
    owner = clause.subject
    text = text or clause.tell(clause.rest[:upto] if told is None else told)
    return Statement(
        from_third(text, clause.owner or owner),
        subject or owner,
        attribute,
        None if value is None else from_third(value.strip(), clause.owner or owner),
        clause.start,
        clause.rest_start + upto,
        confidence if clause.who.speaker else round(confidence * OTHERS, 3),
        polarity or polarity_of(clause),
        single=False if clause.also and single is None else single,
        silent=silent,
        timeless=timeless,
        was=clause.form == "past" and clause.lemma in _WAS and polarity in (None, "ended") and not _LEFT.search(text),
    )


def polarity_of(clause: Clause) -> Polarity:
    """What the tense and a "not" make of a state: "lived" and "no longer lives" have ended."""
    if clause.form in ("past", "perfect") and (clause.negated or clause.never):
        return "never"
    return "ended" if clause.denied or clause.form in ("past", "used") else "holds"


def from_third(text: str, owner: str) -> str:
    """ "Ann quit my job" -> "Ann quit Ann's job"."""
    text = re.sub(r"\s+of my own\b", "", text, flags=re.IGNORECASE)
    text = re.sub(r"\b(?:my|our) own\b", "their own", text, flags=re.IGNORECASE)
    text = re.sub(r"\b(?:my|our)\b", lambda _: f"{owner}'s", text, flags=re.IGNORECASE)
    text = re.sub(r"\b(?:mine|ours)\b", lambda _: f"{owner}'s", text, flags=re.IGNORECASE)
    return re.sub(r"\b(?:me|us)\b", lambda _: owner, re.sub(r"\s+(?:myself|ourselves)\b", "", text))
