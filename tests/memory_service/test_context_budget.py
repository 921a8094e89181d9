"""The budget holds whatever is said, asked, and wished; and every format reads back what it drew."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from unittest.mock import patch

import pytest
import toon_format
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from memory_service import context, filters, retrieval, tokens
from memory_service.context import ContextRequest, assemble
from memory_service.formats import FORMATS, Entry, Section
from memory_service.models import ContextLedger, Memory, Project, Scope
from memory_service.models.memory import hash_text
from memory_service.retrieval import Hit, SearchRequest

STORABLE = st.characters(blacklist_categories=["Cs"], blacklist_characters="\x00")
AWKWARD = st.sampled_from(
    [
        "---",
        "- a",
        "# x",
        "key: value",
        "a, b",
        '"',
        "'",
        "\\",
        "\n\n",
        "```",
        "{",
        "[1]",
        "|",
        "\t",
        "😀",
        "中文字",
        "0.1e5",
        "2025-01-01",
        "null",
        "\u2028",
        "\x85",
        "<|endoftext|>",
    ]
)
TEXT = (
    st.lists(st.one_of(AWKWARD, st.text(STORABLE, max_size=60), st.just("The boat is red. ")), min_size=1, max_size=6)
    .map("".join)
    .filter(str.strip)
)
SAID = st.integers(0, 400)

WISHES = st.fixed_dictionaries(
    {
        "max_tokens": st.integers(16, 400),
        "format": st.sampled_from(list(FORMATS)),
        "order": st.sampled_from(context.ORDERS),
        "compress": st.sampled_from(["none", "extractive"]),
        "model": st.sampled_from([None, "openai/gpt-4", "embedding", "claude-2", "gemini/gemini-pro"]),
    }
)


def hits_of(project: Project, scope: Scope, said: list[tuple[str, int]]) -> list[Hit]:
    """Stored memories with falling scores, as a search returns them."""
    hits = []
    for number, (text, day) in enumerate(said):
        moment = datetime.fromtimestamp(1_700_000_000 + day * 86_400, UTC)
        memory = Memory(
            project=project,
            scope=scope,
            user_id="ann",
            kind="episodic",
            text=text,
            text_hash=hash_text(text),
            said_at=moment,
            position=number,
            speaker="Ann" if number % 2 else None,
            run_id=str(number),
        )
        hits.append(Hit(1 - number / 100, {}, memory=memory))
    Memory.objects.bulk_create([hit.memory for hit in hits if hit.memory])
    return hits


@pytest.fixture
def scope(project: Project) -> Scope:
    return Scope.objects.create(project=project, user_id="ann")


@settings(
    max_examples=80,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # to shrink takes minutes: each example asks a database
)
@given(said=st.lists(st.tuples(TEXT, SAID), min_size=1, max_size=12), wishes=WISHES, later=st.integers(0, 12))
def test_no_context_is_over_its_budget(
    project: Project, scope: Scope, said: list[tuple[str, int]], wishes: dict[str, Any], later: int
) -> None:
    Memory.objects.all().delete()
    ContextLedger.objects.all().delete()
    hits = hits_of(project, scope, said)
    search = SearchRequest("Is the boat red?", filters.parse({"user_id": "ann"}), top_k=60)
    asked = ContextRequest(search, session="s", **wishes)
    previous = ""
    for found_hits in (hits, hits[later:] + hits[:later]):  # a second question finds the same in another order
        with patch.object(retrieval, "search", lambda *_, found=found_hits, **__: found):
            found = assemble(project, asked)
        assert tokens.tokenizer_for(asked.model).count(found.text) == found.num_tokens <= asked.max_tokens
        assert all(0 <= item.start < item.end <= len(found.text) for item in found.items)
        shown, left_out = {item.id for item in found.items}, {one for one, _ in found.left_out}
        assert shown | left_out == {str(hit.memory.public_id) for hit in hits if hit.memory} and not shown & left_out
        if asked.order == "stable":
            unchanged = tokens.tokenizer_for(asked.model).count(_common(previous, found.text))
            assert found.unchanged_tokens is not None and found.unchanged_tokens <= unchanged + 1
            previous = found.text


def _common(left: str, right: str) -> str:
    for index, (a, b) in enumerate(zip(left, right, strict=False)):
        if a != b:
            return left[:index]
    return min(left, right, key=len)


ENTRIES = st.lists(
    st.builds(Entry, text=TEXT, date=st.dates().map(lambda day: f"{day:%Y-%m-%d}".rjust(10, "0")), part=st.just(1)),
    max_size=8,
)
SECTIONS = st.lists(
    st.builds(Section, name=st.sampled_from(["summary"]), lines=st.lists(TEXT, min_size=1, max_size=3).map(tuple)),
    max_size=1,
)
READERS: dict[str, Any] = {"json": json.loads, "yaml": yaml.safe_load, "toon": toon_format.loads}


@settings(max_examples=200, deadline=None)
@given(
    entries=ENTRIES, sections=SECTIONS, grouped=st.booleans(), last=st.booleans(), name=st.sampled_from(list(READERS))
)
def test_it_reads_back_what_it_drew(
    entries: list[Entry], sections: list[Section], grouped: bool, last: bool, name: str
) -> None:
    drawn = FORMATS[name].render(entries, sections, grouped, last)
    read = READERS[name](drawn.text) or {}
    rows = read.get("memories") or []
    found = [(str(row["date"]), text) for row in rows for text in row.get("said", [row.get("text")])]
    assert found == [(entry.date, entry.text) for entry in entries]
    assert [tuple(read[section.name]) for section in sections] == [section.lines for section in sections]


@settings(max_examples=200, deadline=None)
@given(entries=ENTRIES, grouped=st.booleans(), name=st.sampled_from(list(FORMATS)))
def test_spans_hold_the_entries_and_nothing_else(entries: list[Entry], grouped: bool, name: str) -> None:
    format = FORMATS[name]
    drawn = format.render(entries, [], grouped, False)
    assert len(drawn.spans) == len(entries)
    for (start, end), entry in zip(drawn.spans, entries, strict=True):
        piece = format.item(entry, grouped)
        assert drawn.text[start:end] == piece.removesuffix("\n").removesuffix("," if name == "json" else "\n\n").rstrip(
            "\n"
        )


@settings(max_examples=200, deadline=None)
@given(text=TEXT)
@pytest.mark.parametrize("name", ["markdown", "plain"])
def test_no_line_of_a_memory_stands_where_ours_do(name: str, text: str) -> None:
    for grouped in (False, True):
        drawn = FORMATS[name].render([Entry(text, "2025-01-01")], [], grouped, False).text
        lines = drawn.split("\n")[1 + grouped :]
        assert all(line == "" or line.startswith("  ") for line in lines)


@settings(max_examples=200, deadline=None)
@given(text=st.one_of(TEXT, st.text(STORABLE)))
def test_yaml_quotes_as_the_library_does(text: str) -> None:
    from memory_service.formats.yaml import scalar

    assert yaml.safe_load(scalar(text)) == text


# TOON: the library that writes it, against the strict rules of the specification (section 14 of TOON 4)


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**15), 10**15)
    | st.floats(allow_nan=False, allow_infinity=False, width=32)
    | st.text(STORABLE, max_size=20)
    | AWKWARD,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(STORABLE, max_size=8), inner, max_size=4),
    max_leaves=20,
)


@settings(max_examples=300, deadline=None)
@given(value=JSON_VALUES)
@pytest.mark.parametrize("delimiter", [",", "\t", "|"])
def test_toon_reads_back_any_json(value: Any, delimiter: str) -> None:
    drawn = toon_format.dumps(value, delimiter=delimiter)
    assert toon_format.loads(drawn) == value
    assert not drawn.endswith("\n") and all(line == line.rstrip(" ") for line in drawn.split("\n"))


@pytest.mark.parametrize(
    "broken",
    [
        "a[3]: 1,2",  # fewer than declared
        "a[1]: 1,2",  # more
        "a[2]{x,y}:\n  1,2\n  3",  # a row that is too narrow
        "a[2]{x,y}:\n  1,2\n  3,4,5",  # too wide
        "a[2]{x}:\n  1",  # too few rows
        "a[1]{x}:\n  1\n  2",  # too many
        "a[2]:\n  - 1",
        "a:\n   b: 1",  # three blanks
        "a:\n\tb: 1",  # a tab
        "a[2]:\n  - 1\n\n  - 2",  # a blank line inside an array
        "a: 1\na: 2",  # a key twice
        'a: "\\x41"',  # no such escape
        'a: "\\u12"',  # cut short
        'a: "open',  # never closed
        "a: 1\n    b: 2",  # two steps in at once
        "a 1\nb 2",  # no colon
        "a[-1]: 1",  # no length
        "a[2|]: 1,2",  # another delimiter than declared
        'a: "x" y',  # something after the quote
        "1\n2",  # two values
    ],
)
def test_toon_refuses_what_is_not_strict(broken: str) -> None:
    with pytest.raises(toon_format.ToonDecodeError):
        toon_format.loads(broken)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", {}),
        ("a: []", {"a": []}),
        ("a:", {"a": {}}),
        ("[2]: 1,2", [1, 2]),
        ("a[2|]: x|y,z", {"a": ["x", "y,z"]}),
        ("a[1]:\n  - t[1]{x}:\n      1\n    b: 2", {"a": [{"t": [{"x": 1}], "b": 2}]}),
        ("a: 007", {"a": "007"}),
        ("# said\na: 1", {"a": 1}),
        ("a: 1e3", {"a": 1000}),
        (
            "a[2]{x,y{p,q}}:\n  1,2,3\n  4,5,6",
            {"a": [{"x": 1, "y": {"p": 2, "q": 3}}, {"x": 4, "y": {"p": 5, "q": 6}}]},
        ),
        ("a[2:]{x}:\n  k: 1\n  l: 2", {"a": {"k": {"x": 1}, "l": {"x": 2}}}),
        ("a[2]:\n  - [2]: 1,2\n  - [1]: 3", {"a": [[1, 2], [3]]}),
    ],
)
def test_toon_reads_what_the_specification_shows(text: str, value: Any) -> None:
    assert toon_format.loads(text) == value


@pytest.mark.parametrize(
    ("value", "drawn"),
    [
        ({"a": ["", " x", "true", "12", "-y", "a:b", "x,y", "#z"]}, 'a[8]: ""," x","true","12","-y","a:b","x,y","#z"'),
        ({"a": -0.0, "b": 1e6, "c": float("nan")}, "a: 0\nb: 1000000\nc: null"),
        ({"a": [{"x": 1}, {"x": 2}]}, "a[2]{x}:\n  1\n  2"),
        ({"a": [{"x": 1}, {"y": 2}]}, "a[2]:\n  - x: 1\n  - y: 2"),
        ({}, ""),
    ],
)
def test_toon_writes_as_the_specification_does(value: Any, drawn: str) -> None:
    assert toon_format.dumps(value) == drawn
