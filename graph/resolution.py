"""Which entity a name means, and which entities are one.

`resolve` decides for one mention against the entities that it could mean. It never guesses: a bare "Anna" is the only
Anna; of several, the one that was last spoken of in the session; else it stays ambiguous. `find_duplicates` compares a
whole scope's names, near-linearly: only names that share a key are compared, at most WINDOW of a key's at a time.

Thresholds: mem0 v3 merges names at a cosine of 0.95; Mem0-graph (arXiv:2504.19413) matches nodes at 0.7, which takes
strangers for one another, and so only proposes here.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

MERGE_AT, REVIEW_AT = 0.95, 0.7
WINDOW = 8  # names of one key that a name is compared with: its neighbours in the order of the alphabet
MAX_NAME_CHARS = 255
UNKNOWN_TYPES = ("", "other")

# Facts of which a person or thing has one for life: two values are two entities.
SINGLE_VALUED = ("born_in", "birthday", "born_on")

_HONORIFIC = re.compile(r"^(?:mr|mrs|ms|miss|dr|prof|professor)\.?\s+(?=\S)")
_POSSESSIVE = re.compile(r"['’]s?$")
_EDGES = ' \t.,;:!?"“”()[]'
_NUMBER = re.compile(r"\d+")
_TOKEN = re.compile(r"[^\W_]+")


def normalise_name(name: str) -> str:
    """What two spellings of one name share: case, spaces, width and accents' composition, titles and a closing "'s"
    make no difference. "" for a name of punctuation alone."""
    text = " ".join(unicodedata.normalize("NFKC", name).casefold().split()).strip(_EDGES)
    bare = _POSSESSIVE.sub("", text)
    return _HONORIFIC.sub("", bare).strip(_EDGES)[:MAX_NAME_CHARS]


def name_tokens(normal: str) -> list[str]:
    return _TOKEN.findall(normal)


@dataclass(frozen=True, slots=True)
class Mention:
    """A name as it was used. discriminator: what the text says to tell this one from others ("sister of ann").

    facts: single-valued facts that the text states of it, by type.
    """

    name: str
    type: str = "other"
    discriminator: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)

    @property
    def normal(self) -> str:
        return normalise_name(self.name)


@dataclass(frozen=True, slots=True)
class Known:
    """An entity that is there. aliases: normal names that evidence gave it.

    last_in_session: when it was last spoken of in the session of the mention, in any order that grows; None if never.
    """

    id: int
    normal: str
    type: str = "other"
    discriminator: str = ""
    aliases: frozenset[str] = frozenset()
    facts: Mapping[str, str] = field(default_factory=dict)
    last_in_session: float | None = None


Kind = Literal["exact", "alias", "only", "recent", "adopted", "ambiguous", "new"]


@dataclass(frozen=True, slots=True)
class Resolution:
    """id: the entity that is meant. None: one is to be made, of `name` and `discriminator`; where kind is ambiguous it
    stands for "one of `candidates`, not known which". adopted: `id` shall take over the mention's fuller name or its
    discriminator."""

    kind: Kind
    id: int | None = None
    discriminator: str = ""
    candidates: tuple[int, ...] = ()


def resolve(mention: Mention, known: Iterable[Known]) -> Resolution:
    """What the mention means among `known`: all entities that share its name, an alias, or a given name with it."""
    normal = mention.normal
    possible = [one for one in known if can_mean(normal, one) and not conflict(mention, one)]
    apart = _discriminator(mention, [one for one in known if one.normal == normal])
    if mention.discriminator:
        return _resolve_qualified(mention, normal, possible, apart)
    named = [one for one in possible if one.normal == normal or normal in one.aliases]
    if len(name_tokens(normal)) != 1 or mention.type not in ("person", *UNKNOWN_TYPES):
        # A full name, or the name of a place: whoever bears it.
        return _choose(named, normal) if named else _adopt_bare(mention, normal, possible, apart)
    people = [one for one in possible if one in named or one.type in ("person", *UNKNOWN_TYPES)]
    return _choose(people, normal) if people else Resolution("new", discriminator=apart)


def can_mean(normal: str, one: Known) -> bool:
    """Whether the name can be that entity's: the same, an alias, or the given name of the one in the other."""
    if normal == one.normal or normal in one.aliases:
        return True
    left, right = name_tokens(normal), name_tokens(one.normal)
    if not left or not right or 1 not in (len(left), len(right)) or one.type != "person":
        return False
    return left[0] == right[0]


def conflict(mention: Mention, one: Known) -> str:
    """Why the two cannot be one, or ""."""
    if _types_differ(mention.type, one.type):
        return f"a {mention.type} is no {one.type}"
    if mention.discriminator and one.discriminator and mention.discriminator != one.discriminator:
        return f"{mention.discriminator!r} is not {one.discriminator!r}"
    for name in SINGLE_VALUED:
        said, stored = mention.facts.get(name), one.facts.get(name)
        if said and stored and said.casefold() != stored.casefold():
            return f"{name} is {said!r} of the one, {stored!r} of the other"
    return ""


def _types_differ(left: str, right: str) -> bool:
    """A person is never a place, an organisation or a thing; the rest is told apart too poorly to rely on."""
    return left not in UNKNOWN_TYPES and right not in UNKNOWN_TYPES and ("person" in (left, right)) and left != right


def _discriminator(mention: Mention, same_name: Sequence[Known]) -> str:
    """What a new entity needs to be told from those of the same name that it cannot be."""
    if mention.discriminator or not same_name:
        return mention.discriminator
    for name in SINGLE_VALUED:
        if mention.facts.get(name):
            return f"{name} {mention.facts[name]}".casefold()
    return mention.type


def _resolve_qualified(mention: Mention, normal: str, possible: Sequence[Known], apart: str) -> Resolution:
    """ "My sister Anna": the one that is known so; else the only bare Anna that this session spoke of."""
    same = [one for one in possible if one.discriminator == mention.discriminator]
    if same:
        return Resolution("exact", min(same, key=lambda one: (one.normal != normal, one.id)).id)
    bare = [one for one in possible if not one.discriminator and one.last_in_session is not None]
    if len(possible) == len(bare) == 1:
        return Resolution("adopted", bare[0].id)
    return Resolution("new", discriminator=apart, candidates=tuple(one.id for one in possible))


def _adopt_bare(mention: Mention, normal: str, possible: Sequence[Known], apart: str) -> Resolution:
    """ "Anna Smith" where this session spoke of a bare Anna, and there is no other: she has a family name now."""
    tokens = name_tokens(normal)
    bare = [one for one in possible if len(name_tokens(one.normal)) == 1 and one.last_in_session is not None]
    if len(tokens) > 1 and len(possible) == len(bare) == 1 and not bare[0].discriminator:
        return Resolution("adopted", bare[0].id)
    return Resolution("new", discriminator=apart, candidates=tuple(one.id for one in possible))


def _choose(possible: Sequence[Known], normal: str) -> Resolution:
    if len(possible) == 1:
        one = possible[0]
        kind: Kind = "exact" if one.normal == normal else "alias" if normal in one.aliases else "only"
        return Resolution(kind, one.id)
    recent = [one for one in possible if one.last_in_session is not None]
    if recent:
        return Resolution("recent", max(recent, key=lambda one: (one.last_in_session or 0.0, one.id)).id)
    bare = next((one.id for one in possible if one.normal == normal and not one.discriminator), None)
    return Resolution("ambiguous", bare, candidates=tuple(one.id for one in possible))


# Whole scopes


@dataclass(frozen=True, slots=True)
class Name:
    """One entity for `find_duplicates`. mentions: how often it is named."""

    id: int
    normal: str
    type: str = "other"
    discriminator: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Duplicate:
    """left < right. merge: sure enough without other evidence; else for a person to look at."""

    left: int
    right: int
    similarity: float
    merge: bool
    reason: str


def find_duplicates(
    names: Sequence[Name],
    vectors: NDArray[np.floating[Any]],
    *,
    merge_at: float = MERGE_AT,
    review_at: float = REVIEW_AT,
    window: int = WINDOW,
) -> list[Duplicate]:
    """The pairs that may be one, the likeliest first. vectors: (N, D), unit length, of the names in order.

    Raises ValueError if the lengths or the thresholds do not fit.
    """
    if len(vectors) != len(names):
        raise ValueError(f"vectors has {len(vectors)} rows for {len(names)} names: one for each")
    if not 0 <= review_at <= merge_at <= 1:
        raise ValueError(f"review_at={review_at} and merge_at={merge_at}: 0 <= review_at <= merge_at <= 1 is accepted")
    pairs = sorted(candidate_pairs([one.normal for one in names], window=window))
    if not pairs:
        return []
    left, right = np.array(pairs, np.int64).T
    similarity = np.einsum("ij,ij->i", vectors[left], vectors[right])
    found = []
    for i in np.flatnonzero(similarity >= review_at).tolist():
        one, other = names[pairs[i][0]], names[pairs[i][1]]
        why_not = _apart(one, other)
        if why_not is not None:
            score = float(min(1.0, similarity[i]))
            merge = score >= merge_at and not why_not
            reason = why_not or f"their names are {score:.2f} alike"
            found.append(Duplicate(min(one.id, other.id), max(one.id, other.id), score, merge, reason))
    return sorted(found, key=lambda pair: (not pair.merge, -pair.similarity, pair.left, pair.right))


def _apart(one: Name, other: Name) -> str | None:
    """None: they are two. Else what speaks against merging without a person, or ""."""
    mention = Mention(one.normal, one.type, one.discriminator, one.facts)
    if conflict(mention, Known(other.id, other.normal, other.type, other.discriminator, facts=other.facts)):
        return None
    if sorted(_NUMBER.findall(one.normal)) != sorted(_NUMBER.findall(other.normal)):
        return None
    if one.discriminator != other.discriminator:
        return f"only one of the two is known as {one.discriminator or other.discriminator!r}"
    left, right = name_tokens(one.normal), name_tokens(other.normal)
    if len(left) != len(right) and "person" in (one.type, other.type):
        return "one of the two has a name more"
    return ""


def candidate_pairs(normals: Sequence[str], *, window: int = WINDOW) -> set[tuple[int, int]]:
    """Pairs (i, j), i < j, of names that share a key and stand near each other among those that do.

    At most `window` pairs a name and key: the number of pairs grows with the number of names, not with its square.
    Source: sorted neighbourhood, Hernandez and Stolfo 1995, within blocks.
    """
    blocks: dict[str, list[int]] = {}
    for i, normal in enumerate(normals):
        for key in block_keys(normal):
            blocks.setdefault(key, []).append(i)
    pairs: set[tuple[int, int]] = set()
    for members in blocks.values():
        members.sort(key=lambda i: normals[i])
        for at, i in enumerate(members):
            pairs.update((min(i, j), max(i, j)) for j in members[at + 1 : at + 1 + window])
    return pairs


def block_keys(normal: str) -> Iterator[str]:
    """Each word; the beginning and the end of the whole, without spaces; so that one slip leaves one key alike."""
    tokens = name_tokens(normal)
    solid = "".join(tokens)
    for token in set(tokens):
        yield f"w:{token}"
    if len(solid) >= 4:
        yield f"b:{solid[:4]}"
        yield f"e:{solid[-4:]}"
        yield f"s:{''.join(sorted(set(solid)))}"


# What a text says beside a name

KINSHIP = {
    "sibling_of": "sister brother twin stepsister stepbrother",
    "married_to": "wife husband spouse",
    "partner_of": "partner boyfriend girlfriend fiancé fiance fiancée fiancee",
    "child_of": "mother father mom mum dad stepmother stepfather",
    "parent_of": "son daughter stepson stepdaughter baby kid child",
    "grandchild_of": "grandmother grandfather grandma grandpa",
    "relative_of": "aunt auntie uncle cousin niece nephew",
    "friend_of": "friend buddy pal",
    "colleague_of": "colleague coworker co-worker teammate",
    "managed_by": "boss manager supervisor",
    "neighbour_of": "neighbour neighbor",
    "lives_with": "roommate flatmate housemate",
    "taught_by": "teacher tutor coach",
    "patient_of": "doctor dentist therapist",
    "has_pet": "dog cat puppy kitten horse hamster rabbit parrot",
}
ROLES = {role: relation for relation, roles in KINSHIP.items() for role in roles.split()}
SYMMETRIC = (
    "sibling_of", "married_to", "partner_of", "relative_of", "friend_of", "colleague_of", "neighbour_of", "lives_with",
)  # fmt: skip

_ROLE = "|".join(sorted(map(re.escape, ROLES), key=len, reverse=True))
_OWNER = r"(?P<owner>my|our|(?-i:[A-Z])[\w-]*(?: (?-i:[A-Z])[\w-]*)?['’]s)"
_ADJECTIVES = r"(?:(?:older|younger|little|big|best|old|new|late|twin|ex)[ -])*"
_BEFORE = re.compile(rf"\b{_OWNER}\s+{_ADJECTIVES}(?P<role>{_ROLE}),?\s+$", re.IGNORECASE)
_AFTER = re.compile(
    rf"(?:,?\s+(?:from|at)\s+(?P<place>work|school|college|university|church|the gym|the office|the club|next door)\b"
    rf"|,\s+{_OWNER}\s+{_ADJECTIVES}(?P<role>{_ROLE})\b)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Qualifier:
    """What stands beside a name. relation: from the owner to the named, None where it is only a place to know from."""

    discriminator: str
    role: str = ""
    relation: str | None = None
    owner: str | None = None  # as written; None for the speaker


def find_qualifier(text: str, name: str, *, speaker: str | None = None) -> Qualifier | None:
    """ "my sister Anna", "Ann's colleague Bo", "Anna from work", "Anna, my sister": the first that is there."""
    for m in re.finditer(rf"(?<!\w){re.escape(name)}(?!\w)", text):
        before = _BEFORE.search(text[max(0, m.start() - 80) : m.start()])
        after = None if before else _AFTER.match(text, m.end())
        found = before or after
        if found is None:
            continue
        if after is not None and after["place"]:
            return Qualifier(f"from {after['place'].lower()}")
        role = found["role"].lower()
        written = found["owner"]
        owner = None if written.lower() in ("my", "our") else written[:-2]
        whose = normalise_name(owner or speaker or "")
        return Qualifier(f"{role} of {whose}" if whose else role, role, ROLES[role], owner)
    return None
