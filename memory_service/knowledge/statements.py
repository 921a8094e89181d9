"""What a candidate memory says in the graph's terms: whom it mentions, and how they are related. Pure.

Relations come from patterns: a statement in three (subject, attribute, value) whose value names something, and what a
text says beside a name ("my sister Anna"). Names that merely stand in one memory are related by co-occurrence, at a
confidence that says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from graph.resolution import ROLES, SINGLE_VALUED, UNKNOWN_TYPES, Mention, find_qualifier, normalise_name

from ..extraction.types import Candidate
from ..models.knowledge import MAX_TYPE_CHARS

MENTIONED_WITH = "mentioned_with"
CO_OCCURRENCE_CONFIDENCE = 0.3  # half of what the least sure pattern has: it says who, not what
MAX_CO_OCCURRENCES = 6  # of one memory
MAX_MENTIONS = 24  # of one memory; a text with more is a list
QUALIFIER_CONFIDENCE = 0.9
UNNAMED = ("User", "Assistant")  # how extraction calls a speaker who has given no name

# attribute -> (relation, the type of what it leads to; None where it can be anything)
_RELATIONS: dict[str, tuple[str, str | None]] = {
    "lives in": ("lives_in", "place"),
    "live in": ("lives_in", "place"),
    "lives at": ("lives_in", "place"),
    "residence": ("lives_in", "place"),
    "home": ("lives_in", "place"),
    "home city": ("lives_in", "place"),
    "city": ("lives_in", "place"),
    "location": ("lives_in", "place"),
    "has lived in": ("has_lived_in", "place"),
    "moved to": ("moved_to", "place"),
    "is moving to": ("moving_to", "place"),
    "moved from": ("moved_from", "place"),
    "from": ("from", "place"),
    "is from": ("from", "place"),
    "comes from": ("from", "place"),
    "hometown": ("from", "place"),
    "home town": ("from", "place"),
    "grew up in": ("grew_up_in", "place"),
    "born in": ("born_in", "place"),
    "was born in": ("born_in", "place"),
    "birthplace": ("born_in", "place"),
    "works at": ("works_at", "organisation"),
    "work at": ("works_at", "organisation"),
    "works for": ("works_at", "organisation"),
    "employer": ("works_at", "organisation"),
    "company": ("works_at", "organisation"),
    "workplace": ("works_at", "organisation"),
    "works in": ("works_in", None),
    "studied": ("studied_at", "organisation"),
    "studies at": ("studied_at", "organisation"),
    "school": ("studied_at", "organisation"),
    "university": ("studied_at", "organisation"),
    "volunteers at": ("volunteers_at", "organisation"),
    "married to": ("married_to", "person"),
    "is married to": ("married_to", "person"),
    "spouse": ("married_to", "person"),
    "partner": ("partner_of", "person"),
    "best friend": ("friend_of", "person"),
    "lives with": ("lives_with", "person"),
    "speaks": ("speaks", "other"),
    "sibling": ("sibling_of", "person"),
    "likes": ("likes", None),
    "dislikes": ("dislikes", None),
    "prefers": ("prefers", None),
    "owns": ("owns", None),
    "runs": ("runs", None),
}
_NEGATED = re.compile(r"(?:no longer|does not|doesn't|is not|isn't|has never|never|used to|not)\b\s*")
_ENDED = "no longer "
_KIN_NAME = re.compile(r"(?:[\w-]+ )?(?P<role>[\w-]+)['’]s? names?$")
_KIN_SUBJECT = re.compile(
    r"^(?P<owner>.+?)['’]s\s+(?:[\w-]+\s+){0,2}?(?P<role>[\w-]+)(?:,?\s+(?P<name>[A-Z][\w'’-]+))?$"
)
_SPLIT = re.compile(r"\s+(?:with|and then|because|since|for|as)\s+", re.IGNORECASE)
_SMALL = "(?:(?:the|of|de|van|von) )*"
_NAME_LIKE = re.compile(rf"{_SMALL}[A-Z][\w'’&.-]*(?: {_SMALL}[A-Z0-9][\w'’&.-]*){{0,3}}")
_ROLE_WORD = re.compile(rf"\b(?:{'|'.join(map(re.escape, ROLES))}|from|at)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Triplet:
    """source --type--> target. ended: the text says that it holds no longer."""

    source: Mention
    type: str
    target: Mention
    confidence: float
    origin: str = "pattern"
    ended: bool = False

    @property
    def text(self) -> str:
        return triplet_text(self.source.name, self.type, self.target.name)


@dataclass(slots=True)
class Reading:
    """One memory. aliases: (another name, whose it is, what it is known from)."""

    mentions: list[Mention] = field(default_factory=list)
    triplets: list[Triplet] = field(default_factory=list)
    aliases: list[tuple[str, Mention, str]] = field(default_factory=list)


def triplet_text(source: str, type_: str, target: str) -> str:
    return f"{source} {type_.replace('_', ' ')} {target}"


def relation_type(attribute: str) -> str:
    """`lives in` -> lives_in: what a relation of any wording is called. "" where nothing is left of it."""
    plain = " ".join(attribute.casefold().replace("_", " ").split())
    if plain in _RELATIONS:
        return _RELATIONS[plain][0]
    if plain in ROLES:
        return ROLES[plain]
    return re.sub(r"\W+", "_", plain).strip("_")[:MAX_TYPE_CHARS]


def read_candidate(candidate: Candidate, *, self_name: str | None) -> Reading:
    """self_name: what the graph calls a speaker who has given no name; None for nobody."""
    return _Reader(candidate, self_name).read()


class _Reader:
    def __init__(self, candidate: Candidate, self_name: str | None) -> None:
        self.candidate, self.self_name = candidate, self_name
        self.reading = Reading()
        self.speaker = self._called(candidate.speaker or "")
        self.by_normal: dict[str, Mention] = {}

    def read(self) -> Reading:
        candidate = self.candidate
        for entity in candidate.entities[:MAX_MENTIONS]:
            self._mention(entity.name, entity.type)
        self._qualify()
        if candidate.subject and candidate.attribute:
            self._read_statement(candidate.subject, candidate.attribute, candidate.value or "")
        self.reading.mentions = list(self.by_normal.values())
        self._relate_neighbours()
        return self.reading

    def _called(self, name: str) -> str:
        return (self.self_name or "") if name in UNNAMED else name

    def _mention(self, name: str, kind: str = "other", discriminator: str = "") -> Mention | None:
        """The text's one mention of that name; None for no name. What is known of it grows."""
        normal = normalise_name(name)
        if not normal:
            return None
        known = self.by_normal.get(normal)
        if known is not None:
            kind = known.type if known.type not in UNKNOWN_TYPES else kind
            discriminator = known.discriminator or discriminator
            name = known.name
        self.by_normal[normal] = Mention(name, kind, discriminator, known.facts if known else {})
        return self.by_normal[normal]

    def _person(self, name: str) -> Mention | None:
        """A subject: whoever the words stand for, with the relation that they imply ("Ann's sister Anna")."""
        name = self._called(name)
        kin = _KIN_SUBJECT.match(name)
        if kin is None or kin["role"].lower() not in ROLES:
            return self._mention(name, "person") if name else None
        return self._kin(self._called(kin["owner"]), kin["role"].lower(), kin["name"])

    def _kin(self, owner: str, role: str, name: str | None) -> Mention | None:
        """Ann's sister, by her name where it is known."""
        kind = "other" if ROLES[role] == "has_pet" else "person"
        known_as = f"{role} of {normalise_name(owner)}"
        named = self._mention(name, kind, known_as) if name else self._mention(f"{owner}'s {role}", kind)
        whose = self._mention(owner, "person")
        if named and whose and named.normal != whose.normal:
            self._add(Triplet(whose, ROLES[role], named, QUALIFIER_CONFIDENCE))
        return named

    def _qualify(self) -> None:
        """What the text says beside a name, for names that several may bear."""
        if not _ROLE_WORD.search(self.candidate.text):
            return
        for mention in list(self.by_normal.values()):
            if mention.type not in ("person", *UNKNOWN_TYPES):
                continue
            found = find_qualifier(self.candidate.text, mention.name, speaker=self.speaker)
            if found is None or (not found.role and mention.type != "person"):
                continue
            if found.role:
                self._kin(self._called(found.owner or "") or self.speaker, found.role, mention.name)
            else:
                self._mention(mention.name, mention.type, found.discriminator)

    def _read_statement(self, subject: str, attribute: str, value: str) -> None:
        plain = " ".join(attribute.casefold().replace("_", " ").split())
        if plain == "name":
            self._introduce(subject, value)
            return
        who = self._person(subject)
        if who is None:
            return
        if kin := _KIN_NAME.match(plain):
            self._name_kin(who, kin["role"], value)
            return
        ended = plain.startswith(_ENDED) or self.candidate.polarity != "holds"
        negated = _NEGATED.match(plain)
        if negated and not ended:
            return  # what is not so relates nothing
        plain = plain.removeprefix(_ENDED)
        kind = _RELATIONS.get(plain, ("", "person" if plain in ROLES else None))[1]
        name = relation_type(plain)
        if not ended:
            self._note_fact(who, name, value)
        for target in self._targets(value, kind, who):
            if name:
                source = self.by_normal[who.normal]
                self._add(Triplet(source, name, target, min(1.0, self.candidate.confidence), ended=ended))

    def _introduce(self, subject: str, value: str) -> None:
        """ "My name is Alex": another name of whoever had none."""
        who, name = self._person(subject), value.strip()
        if who and name and normalise_name(name) not in ("", who.normal):
            self.reading.aliases.append((name, who, "introduction"))
            self.by_normal.pop(normalise_name(name), None)  # it is not another person

    def _name_kin(self, owner: Mention, role: str, value: str) -> None:
        role = role if role in ROLES else role.rstrip("s")
        name = _NAME_LIKE.match(value.strip())
        if role in ROLES and name:
            named = self._kin(owner.name, role, name[0])
            if named:
                self.reading.aliases.append((f"{owner.name}'s {role}", named, "kinship"))

    def _note_fact(self, who: Mention, name: str, value: str) -> None:
        if name in SINGLE_VALUED and value:
            facts = {**who.facts, name: " ".join(value.casefold().split())}
            self.by_normal[who.normal] = Mention(who.name, who.type, who.discriminator, facts)

    def _targets(self, value: str, kind: str | None, who: Mention) -> Iterator[Mention]:
        """What the value names, in the order in which it does; of a place or an employer only the first part counts."""
        looked_at = _SPLIT.split(value, maxsplit=1)[0] if kind is not None else value
        found = self._found_in(looked_at, who)
        named = [mention for mention in found if kind in (None, "other", "person") or mention.type != "person"]
        if not named and kind is not None:
            like = _NAME_LIKE.match(looked_at.strip())
            made = self._mention(like[0], kind) if like else None
            named = [made] if made and made.normal != who.normal else []
        for mention in named[: 1 if kind in ("place", "organisation") else None]:
            better = kind if kind and mention.type in UNKNOWN_TYPES else mention.type
            known = self._mention(mention.name, better)
            if known is not None:
                yield known

    def _found_in(self, text: str, who: Mention) -> list[Mention]:
        places = ((_position(mention.name, text), mention) for mention in self.by_normal.values())
        return [
            mention
            for at, mention in sorted(places, key=lambda pair: pair[0])
            if at >= 0 and mention.normal != who.normal
        ]

    def _add(self, triplet: Triplet) -> None:
        key = (triplet.source.normal, triplet.type, triplet.target.normal)
        if all((t.source.normal, t.type, t.target.normal) != key for t in self.reading.triplets):
            self.reading.triplets.append(triplet)

    def _relate_neighbours(self) -> None:
        """Pairs of this memory that nothing else relates, those mentioned next to each other first. Undirected."""
        related = {frozenset((t.source.normal, t.target.normal)) for t in self.reading.triplets}
        mentions = self.reading.mentions
        apart = [pair for gap in range(1, len(mentions)) for pair in zip(mentions, mentions[gap:], strict=False)]
        pairs = (pair for pair in apart if frozenset(mention.normal for mention in pair) not in related)
        for number, pair in enumerate(pairs):
            if number == MAX_CO_OCCURRENCES:
                break
            left, right = sorted(pair, key=lambda mention: (mention.normal, mention.discriminator))
            self.reading.triplets.append(
                Triplet(left, MENTIONED_WITH, right, CO_OCCURRENCE_CONFIDENCE, origin="co_occurrence")
            )


def _position(name: str, text: str) -> int:
    found = re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text, re.IGNORECASE)
    return found.start() if found else -1
