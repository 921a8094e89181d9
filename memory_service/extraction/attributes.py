"""What can be said of a subject, in canonical attributes: which hold one value at a time, and which end one another.

Extraction names attributes from here where it can; consolidation decides by them. An attribute that is not listed
(a relation read from a sentence, "capital of Norway is") is single or not as its statement says.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Attribute:
    """single: one value at a time, so that a later one ends the earlier. ends: attributes whose open values end
    when this one gets a value, whatever they were ("marital status" single ends the partner)."""

    name: str
    single: bool = False
    ends: tuple[str, ...] = ()


_ALL = (
    # where and what one is
    Attribute("name", single=True),
    Attribute("nickname", single=True),
    Attribute("lives in", single=True),
    Attribute("stays in", single=True),  # for a time
    Attribute("lives with"),
    Attribute("born in", single=True),
    Attribute("born on", single=True),
    Attribute("birthday", single=True),
    Attribute("age", single=True),
    Attribute("hometown", single=True),
    Attribute("from", single=True),
    Attribute("grew up in"),
    Attribute("nationality"),
    Attribute("speaks"),
    Attribute("religion", single=True),
    Attribute("pronouns", single=True),
    Attribute("time zone", single=True),
    Attribute("is"),  # "is an introvert"
    # how to reach one
    Attribute("address", single=True),
    Attribute("phone number", single=True),
    Attribute("email", single=True),
    # people
    Attribute("marital status", single=True),
    Attribute("partner", single=True),
    Attribute("child"),
    Attribute("sibling"),
    Attribute("parent"),
    Attribute("friend"),
    Attribute("best friend", single=True),
    Attribute("expects a child", single=True),
    # work and school
    Attribute("works at", single=True),
    Attribute("works as", single=True),
    Attribute("works in"),
    Attribute("works"),  # "from home", "nights"
    Attribute("runs"),
    Attribute("volunteers at"),
    Attribute("teaches"),
    Attribute("studies", single=True),
    Attribute("studies at", single=True),
    Attribute("studied"),
    Attribute("employment", single=True, ends=("works at", "works as")),  # "retired", "unemployed"
    Attribute("boss", single=True),
    # likes and habits
    Attribute("likes"),
    Attribute("prefers"),
    Attribute("diet", single=True),
    Attribute("eats"),
    Attribute("drinks"),
    Attribute("smokes"),
    Attribute("plays"),
    Attribute("collects"),
    Attribute("practises"),
    Attribute("is learning"),
    Attribute("is training for"),
    Attribute("watches"),
    Attribute("celebrates"),
    Attribute("does regularly"),  # the recurrence is in the value: "yoga every Tuesday"
    Attribute("is interested in"),
    Attribute("is afraid of"),
    Attribute("member of"),
    # things and animals
    Attribute("has"),
    Attribute("owns"),
    Attribute("drives", single=True),
    Attribute("uses"),
    Attribute("wears"),
    # of an event or a thing: "the meeting", "the wifi password"
    Attribute("date", single=True),
    Attribute("time", single=True),
    Attribute("place", single=True),
    # health
    Attribute("is allergic to"),
    Attribute("suffers from"),
    Attribute("takes"),  # medicine
    # what is to come, and what was
    Attribute("plans"),
    Attribute("wants to"),
    Attribute("used to"),
    Attribute("did"),
)

ATTRIBUTES = {attribute.name: attribute for attribute in _ALL}


_DATA = (" phone number", " email", " address")  # "work phone number": one at a time as well


def is_single(name: str) -> bool | None:
    """Whether an attribute holds one value at a time; None for one that is not listed. Any "favourite ..." is."""
    known = ATTRIBUTES.get(name)
    if known is not None:
        return known.single
    return True if name.startswith("favourite ") or name.endswith(_DATA) else None
