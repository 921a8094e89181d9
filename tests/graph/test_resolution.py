"""Who is meant by a name, and which names are one: never by guessing, and never by comparing all with all."""

from __future__ import annotations

import random
import string

import numpy as np
import pytest

from graph.resolution import (
    Known,
    Mention,
    Name,
    candidate_pairs,
    find_duplicates,
    find_qualifier,
    normalise_name,
    resolve,
)


@pytest.mark.parametrize(
    ("written", "normal"),
    [
        ("  Ann   SMITH ", "ann smith"),
        ("Ann's", "ann"),
        ("Ann’s", "ann"),
        ("Dr. Anna Smith", "anna smith"),
        ("Ａｎｎ", "ann"),
        ("Straße", "strasse"),
        ("“Oslo,”", "oslo"),
        ("Dr.", "dr"),
        ("...", ""),
        ("", ""),
    ],
)
def test_it_normalises_names(written: str, normal: str) -> None:
    assert normalise_name(written) == normal


SMITH, JONES = Known(1, "anna smith", "person"), Known(2, "anna jones", "person")


def recent(one: Known, when: float) -> Known:
    return Known(one.id, one.normal, one.type, one.discriminator, one.aliases, one.facts, when)


def test_a_bare_name_is_the_only_one() -> None:
    found = resolve(Mention("Anna", "person"), [SMITH])
    assert (found.kind, found.id) == ("only", 1)
    assert resolve(Mention("Anna Smith"), [SMITH]).kind == "exact"


def test_of_several_it_is_the_one_last_spoken_of_in_the_session_and_else_not_known() -> None:
    found = resolve(Mention("Anna", "person"), [recent(SMITH, 3), recent(JONES, 8)])
    assert (found.kind, found.id) == ("recent", 2)
    unknown = resolve(Mention("Anna", "person"), [SMITH, JONES])
    assert (unknown.kind, unknown.id, unknown.candidates) == ("ambiguous", None, (1, 2))
    bare = Known(3, "anna", "person")
    again = resolve(Mention("Anna", "person"), [SMITH, JONES, bare])
    assert (again.kind, again.id) == ("ambiguous", 3)


def test_two_full_names_are_two() -> None:
    assert resolve(Mention("Anna Jones", "person"), [SMITH]).kind == "new"


def test_what_stands_beside_a_name_tells_two_apart() -> None:
    sister = Known(1, "anna", "person", "sister of ann")
    work = resolve(Mention("Anna", "person", "from work"), [sister])
    assert (work.kind, work.discriminator) == ("new", "from work")
    assert resolve(Mention("Anna", "person", "sister of ann"), [sister]).id == 1
    assert resolve(Mention("Anna", "person"), [sister]).kind == "exact"


def test_a_bare_one_of_this_session_takes_over_what_is_learnt_of_it() -> None:
    here, elsewhere = recent(Known(1, "anna", "person"), 5), Known(1, "anna", "person")
    for mention in (Mention("Anna", "person", "sister of ann"), Mention("Anna Smith", "person")):
        assert resolve(mention, [here]).kind == "adopted"
        assert resolve(mention, [elsewhere]).kind == "new"


def test_single_valued_facts_tell_two_apart() -> None:
    oslo = Known(1, "kim", "person", facts={"born_in": "oslo"})
    other = resolve(Mention("Kim", "person", facts={"born_in": "lima"}), [oslo])
    assert (other.kind, other.discriminator) == ("new", "born_in lima")
    assert resolve(Mention("Kim", "person", facts={"born_in": "Oslo"}), [oslo]).id == 1


def test_a_person_is_no_place_and_a_place_no_given_name() -> None:
    place = Known(1, "jordan", "place")
    found = resolve(Mention("Jordan", "person"), [place])
    assert (found.kind, found.discriminator) == ("new", "person")
    assert resolve(Mention("New"), [Known(1, "new york", "place")]).kind == "new"


def test_an_alias_is_a_name() -> None:
    found = resolve(Mention("Annika", "person"), [Known(1, "ann", "person", aliases=frozenset({"annika"})), SMITH])
    assert (found.kind, found.id) == ("alias", 1)


@pytest.mark.parametrize(
    ("text", "name", "discriminator", "relation", "owner"),
    [
        ("I called my sister Anna today", "Anna", "sister of ann", "sibling_of", None),
        ("my older brother, Bo came", "Bo", "brother of ann", "sibling_of", None),
        ("Ben's colleague Anna is here", "Anna", "colleague of ben", "colleague_of", "Ben"),
        ("Anna, my boss, called", "Anna", "boss of ann", "managed_by", None),
        ("lunch with Anna from work", "Anna", "from work", None, None),
        ("our dog Rex", "Rex", "dog of ann", "has_pet", None),
    ],
)
def test_it_reads_what_stands_beside_a_name(
    text: str, name: str, discriminator: str, relation: str | None, owner: str | None
) -> None:
    found = find_qualifier(text, name, speaker="Ann")
    assert found is not None
    assert (found.discriminator, found.relation, found.owner) == (discriminator, relation, owner)


@pytest.mark.parametrize("text", ["I called Anna", "my sister met Anna", "Annabel my sister", "Anna from Oslo"])
def test_it_reads_nothing_where_nothing_stands(text: str) -> None:
    assert find_qualifier(text, "Anna", speaker="Ann") is None


# Whole scopes


def random_names(number: int, seed: int = 3) -> list[str]:
    drawn = random.Random(seed)
    syllables = ["".join(drawn.choices(string.ascii_lowercase, k=3)) for _ in range(300)]
    given = ["".join(drawn.sample(syllables, 2)) for _ in range(400)]
    family = ["".join(drawn.sample(syllables, 3)) for _ in range(4000)]
    return [f"{drawn.choice(given)} {drawn.choice(family)}" for _ in range(number)]


def test_it_compares_a_small_multiple_of_the_names_and_still_finds_slips() -> None:
    names = random_names(20_000)
    drawn = random.Random(4)
    slips = []
    for number in range(500):
        at = drawn.randrange(20_000)
        whole = names[at]
        cut = drawn.randrange(1, len(whole) - 1)
        names.append(whole[:cut] + whole[cut + 1 :])
        slips.append((at, 20_000 + number))
    pairs = candidate_pairs(names)
    assert len(pairs) < 20 * len(names), f"{len(pairs) / len(names):.1f} pairs a name"
    assert sum(pair in pairs for pair in slips) / len(slips) > 0.75
    assert len(candidate_pairs(names[:5_000])) / 5_000 > 0.5 * len(pairs) / len(names), (
        "it does not grow with the square"
    )


def unit(*rows: list[float]) -> np.ndarray:
    vectors = np.array(rows, dtype=np.float32)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def test_it_merges_at_the_higher_threshold_and_proposes_at_the_lower() -> None:
    names = [Name(1, "nordbank asa"), Name(2, "nordbank as"), Name(3, "nordbank")]
    found = find_duplicates(names, unit([1, 0], [1, 0.1], [1, 0.8]))
    assert [(pair.left, pair.right, pair.merge) for pair in found] == [(1, 2, True), (2, 3, False), (1, 3, False)]
    assert find_duplicates(names, unit([1, 0], [0, 1], [1, -5])) == []


def test_it_never_merges_what_facts_or_names_keep_apart() -> None:
    same = unit([1, 0], [1, 0])
    apart = [
        [Name(1, "flat 12"), Name(2, "flat 13")],
        [Name(1, "anna", "person", "sister of ann"), Name(2, "anna", "person", "from work")],
        [Name(1, "jordan", "person"), Name(2, "jordan", "place")],
        [Name(1, "kim", facts={"born_in": "oslo"}), Name(2, "kim", facts={"born_in": "lima"})],
    ]
    for pair in apart:
        assert find_duplicates(pair, same) == []
    doubtful = [
        [Name(1, "anna", "person", "sister of ann"), Name(2, "anna", "person")],
        [Name(1, "anna smith", "person"), Name(2, "anna", "person")],
    ]
    for pair in doubtful:
        [found] = find_duplicates(pair, same)
        assert not found.merge and found.reason


def test_it_refuses_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="3 rows for 1 names"):
        find_duplicates([Name(1, "a")], unit([1, 0], [1, 0], [1, 0]))
    with pytest.raises(ValueError, match=r"review_at=0\.9 and merge_at=0\.5"):
        find_duplicates([], np.zeros((0, 2)), merge_at=0.5, review_at=0.9)
