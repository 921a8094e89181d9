"""Markdown, HTML, code, conversations, hierarchies, and which of them a document is."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from chunking.auto import choose_strategy, language_by_looks, split_auto
from chunking.code import guess_language, split_code
from chunking.conversation import conversation_turns, split_conversation
from chunking.hierarchical import split_hierarchical
from chunking.html import html_blocks, split_html, visible_text
from chunking.markdown import markdown_blocks, plain_title, split_markdown
from chunking.strategies import split

ROOT = Path(__file__).resolve().parents[2]

MARKDOWN = """---
title: Guide
---

# The `guide` to [this](http://x)

Intro words.

Setup
-----

Do this:

- one
- two

  ```sh
  # no heading
  ```

| name | use |
|------|-----|
| a | first |
| b | second |

```python
# no heading either
def f(): pass
```

### Deep ###

Words of the deep.

# Second

> quoted
lazily
"""


def test_it_gives_sections_their_headings() -> None:
    chunks = split_markdown(MARKDOWN, max_tokens=30, min_tokens=0)
    assert "".join(chunk.text for chunk in chunks) == MARKDOWN
    assert [(chunk.kind, chunk.headings) for chunk in chunks] == [
        ("front_matter", ()),
        ("text", ("The guide to this",)),
        ("text", ("The guide to this", "Setup")),
        ("table", ("The guide to this", "Setup")),
        ("code", ("The guide to this", "Setup")),
        ("text", ("The guide to this", "Setup", "Deep")),
        ("quote", ("Second",)),
    ]
    assert chunks[4].text.startswith("```python\n") and chunks[4].text.endswith("```\n\n")


def test_it_keeps_blocks_whole_while_they_fit() -> None:
    fence = "```\n" + "x = 1\n\n" * 10 + "```\n"
    chunks = split_markdown("Words here.\n\n" * 6 + fence + "\nAfter.\n", max_tokens=44)
    assert len(chunks) > 1 and sum(fence in chunk.text for chunk in chunks) == 1
    assert [chunk.text for chunk in split_markdown("Words.\n\n" + fence, max_tokens=37) if chunk.kind == "code"] == [
        fence
    ]


def test_it_cuts_a_long_table_between_rows_under_its_header() -> None:
    table = "| name | use |\n|---|---|\n" + "".join(f"| row{i} | value |\n" for i in range(30))
    chunks = split_markdown("# T\n\n" + table, max_tokens=40)
    assert len(chunks) > 4 and all(chunk.kind == "table" for chunk in chunks)
    assert all(chunk.text.startswith("| row") for chunk in chunks[1:])
    assert chunks[0].headings == ("T",) and chunks[1].headings == ("T", "| name | use |")


def test_it_joins_small_sections_under_what_they_share() -> None:
    text = "# A\n\n## B\n\nbb\n\n## C\n\ncc\n"
    assert [chunk.headings for chunk in split_markdown(text, max_tokens=80)] == [("A",)]
    apart = split_markdown(text, max_tokens=80, min_tokens=0)
    assert [chunk.headings for chunk in apart] == [("A", "B"), ("A", "C")]


@pytest.mark.parametrize(
    "path", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))], ids=lambda path: path.name
)
def test_it_sees_the_headings_tables_and_fences_that_a_full_parser_sees(path: Path) -> None:
    text = path.read_text()
    tokens = [token for token in MarkdownIt("commonmark").enable("table").parse(text) if token.level == 0 and token.map]
    lines = [0]
    for line in text.split("\n"):
        lines.append(lines[-1] + len(line) + 1)
    blocks = markdown_blocks(text)
    for kind, opening in (("heading", "heading_open"), ("table", "table_open"), ("code", "fence code_block")):
        expected = [lines[token.map[0]] for token in tokens if token.type in opening.split() and token.map]
        found = [block.start for block in blocks if (block.opens if kind == "heading" else block.kind == kind)]
        assert found == expected, kind


MARKS = [
    "# a\n",
    "## b\n",
    "x\n",
    "y z\n",
    "\n",
    "===\n",
    "---\n",
    "```\n",
    "~~~\n",
    "- i\n",
    "  c\n",
    "> q\n",
    "1. n\n",
    "***\n",
    "#no\n",
]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(MARKS), max_size=14).map("".join))
def test_it_agrees_with_a_full_parser_on_headings(text: str) -> None:
    if text.startswith("---\n") and not text.startswith("---\n\n"):
        return  # front matter, which CommonMark does not know
    tokens = MarkdownIt("commonmark").parse(text)
    expected = [token.map[0] for token in tokens if token.type == "heading_open" and token.level == 0 and token.map]
    found = [text.count("\n", 0, block.start) for block in markdown_blocks(text) if block.opens]
    assert found == expected


def test_it_reads_titles_without_their_marks() -> None:
    assert plain_title("The **bold** `x_y` [link](http://a) ![pic](b.png) \\# end") == "The bold x_y link pic # end"


PAGE = """<!DOCTYPE html>
<html><head><title>T &amp; x</title><style>p{color:red}</style></head>
<body><nav><ul><li>Home</li><li>About</li></ul></nav>
<h1 id="a>b">Big &amp; <b>bold</b></h1>
<p>First paragraph. With <a href="x">link</a>.</p>
<div><div><p>Second &lt;one&gt;</p></div></div>
<script>var x = "<p>no</p>";</script>
<h2>Sub</h2>
<table><tr><th>A</th></tr><tr><td>1</td></tr><tr><td>2</td></tr></table>
<pre>def f():
   pass</pre>
3 &lt; 4
</body></html>
"""


def test_it_reads_pages_by_their_elements() -> None:
    chunks = split_html(PAGE, max_tokens=60, min_tokens=0)
    assert "".join(chunk.text for chunk in chunks) == PAGE
    assert {chunk.kind for chunk in chunks} >= {"markup", "list", "table", "text"}
    shown = [(visible_text(chunk.text), chunk.headings) for chunk in chunks if chunk.kind != "markup"]
    assert ("Home\nAbout", ()) in shown
    assert ("Big & bold\nFirst paragraph. With link.", ("Big & bold",)) in shown
    assert any(words.startswith("Sub\nA\n1\n2") and path == ("Big & bold", "Sub") for words, path in shown)
    assert not any("color" in words or "var x" in words for words, _ in shown)


def test_it_cuts_no_tag_in_two_and_tables_between_rows() -> None:
    rows = "".join(f'<tr class="row"><td>value {i}</td></tr>' for i in range(40))
    chunks = split_html(f"<p>x</p><table>{rows}</table>", max_tokens=80)
    assert len(chunks) > 5
    assert all(chunk.text.startswith("<tr") for chunk in chunks[2:])
    words = "".join(f'<b class="strong">word{i}</b> ' for i in range(60))
    for chunk in split_html(f"<p>{words}</p>", max_tokens=50):
        assert chunk.text.count("<") == chunk.text.count(">")


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        ("<p>one<p>two", "one\ntwo"),
        ("<div><b>a</div>b</b>", "a\nb"),
        ("3 < 4 and 5 > 2", "3 < 4 and 5 > 2"),
        ("<p title='a > b'>c</p>", "c"),
        ('<a href="x>y', '<a href="x>y'.partition(">")[2]),
        ("<!-- never closed <p>x</p>", "x"),
        ("a<script>alert(1)", "a"),
        ("<ScRiPt>x</sCrIpT>y", "y"),
        ("</p></div>x", "x"),
        ("<>x</>", "<>x</>"),
        ("x <br/> y", "x\ny"),
    ],
)
def test_it_takes_broken_pages(broken: str, words: str) -> None:
    assert visible_text(broken) == words
    assert "".join(chunk.text for chunk in split_html(broken)) == broken


def test_it_has_a_block_for_every_heading() -> None:
    assert [block.headings for block in html_blocks("<h1>a</h1><h3>b</h3><h2>c</h2>x") if block.opens] == [
        ("a",),
        ("a", "b"),
        ("a", "c"),
    ]


PYTHON = '''"""Module."""

import os

LIMIT = 3  # behind a line


# about f
@decorated
def f(x):
    """Say é."""
    return x


class Cache(Base):
    """Keeps."""

    size = 1

    # about get
    @property
    def get(self):
        return self._get()

    def put(self, value):
        if value:
            self._put(value)
        else:
            raise ValueError("nothing to put into this cache, which keeps what it is given and nothing else")
'''


def test_it_keeps_definitions_whole_with_what_is_theirs() -> None:
    chunks = split_code(PYTHON, language="python", max_tokens=32)
    assert "".join(chunk.text for chunk in chunks) == PYTHON
    texts = [chunk.text for chunk in chunks]
    assert '# about f\n@decorated\ndef f(x):\n    """Say é."""\n    return x\n\n\n' in texts
    assert "LIMIT = 3  # behind a line" in texts[0]
    get = next(chunk for chunk in chunks if "def get" in chunk.text)
    assert get.text.startswith("    # about get\n    @property\n") and get.headings == ("class Cache(Base)",)
    assert chunks[-1].headings[:2] == ("class Cache(Base)", "def put(self, value)")
    assert {chunk.kind for chunk in chunks} == {"code"}


@pytest.mark.parametrize(
    ("filename", "source", "heading"),
    [
        ("a.js", "export class A {\n  get(k) { return k; }\n" + "  put(k) { this.k = k; }\n" * 9 + "}\n", "class A"),
        ("A.java", "class A {\n  int x;\n" + "  int get() { return x; }\n" * 9 + "}\n", "class A"),
        ("a.rs", "impl A {\n" + "  fn get(&self) -> i32 { 1 }\n" * 9 + "}\n", "impl A"),
        ("a.go", "func main() {\n" + '  println("x")\n' * 20 + "}\n", "func main()"),
        ("a.cpp", "class A {\npublic:\n" + "  int get() { return 1; }\n" * 9 + "};\n", "class A"),
        ("a.rb", "class A\n" + "  def get(k)\n    k\n  end\n" * 9 + "end\n", "class A"),
    ],
)
def test_it_knows_many_languages(filename: str, source: str, heading: str) -> None:
    chunks = split_code(source, filename=filename, max_tokens=30)
    assert "".join(chunk.text for chunk in chunks) == source
    assert any(chunk.headings[:1] == (heading,) for chunk in chunks), [chunk.headings for chunk in chunks]


def test_it_cuts_code_of_an_unknown_language_where_it_is_least_indented() -> None:
    source = "".join(f"proc p{i}\n  do a\n\n  do b\nend\n\n" for i in range(12))
    for options in ({}, {"language": "no such language"}, {"filename": "a.unknown"}):
        chunks = split_code(source, max_tokens=30, **options)
        assert len(chunks) > 2 and all(chunk.text.startswith("proc") for chunk in chunks)


@pytest.mark.parametrize(
    ("expected", "options"),
    [
        ("python", {"filename": "a/b.PY"}),
        ("dockerfile", {"filename": "x\\Dockerfile"}),
        ("cpp", {"language": "C++"}),
        ("python", {"text": "#!/usr/bin/env python3\n"}),
        ("bash", {"text": "#!/bin/sh\n"}),
        (None, {"filename": "README"}),
        ("rust", {"language": "rs", "filename": "a.py"}),
    ],
)
def test_it_tells_a_language(expected: str | None, options: dict[str, str]) -> None:
    assert guess_language(options.pop("text", ""), **options) == expected


def test_it_rejects_a_language_that_is_no_text() -> None:
    with pytest.raises(ValueError, match="language=7 must be text"):
        split("x", "code", options={"language": 7})


@pytest.mark.parametrize(
    "text",
    [
        "Anna: hi\nBob: hello\nthere\nAnna: bye\n",
        "[12/03/24, 10:11:12] Anna: hi\n[12/03/24, 10:11:15] Bob: hello\n[12/03/24, 10:12:00] Anna: bye\n",
        "12/03/24, 10:11 - Anna: hi\n12/03/24, 10:11 - Bob: http://x.y: 3\n12/03/24, 10:12 - Anna: bye\n",
        "<Anna> hi\n<Bob> hello\n<Anna> bye\n",
        "**Anna:** hi\n\n**Bob:** hello\n\n**Anna:** bye\n",
        "**Anna** (10:00): hi\n\n**Bob** (10:01): hello\n\n**Anna** (10:02): bye\n",
        json.dumps(
            [{"role": "Anna", "content": "hi"}, {"role": "Bob", "content": "Carl: x"}, {"role": "Anna", "content": ""}]
        ),
        json.dumps({"id": 1, "messages": [{"speaker": n, "text": "{[\"'"} for n in ("Anna", "Bob", "Anna")]}, indent=1),
        "\n".join(json.dumps({"author": {"role": n}, "content": {"parts": ["x"]}}) for n in ("Anna", "Bob", "Anna")),
    ],
)
def test_it_reads_turns(text: str) -> None:
    turns = conversation_turns(text)
    assert [turn.speaker for turn in turns] == ["Anna", "Bob", "Anna"]
    chunks = split_conversation(text, max_tokens=200)
    assert [chunk.kind for chunk in chunks] == ["turn"] and chunks[0].text == text


def test_it_reads_chats_with_headings() -> None:
    text = "# Log\n\n## User\n\nhi\n\n## Assistant\n\n### Plan\n\nhello\n"
    assert [turn.speaker for turn in conversation_turns(text)] == ["User", "Assistant"]


def test_it_does_not_take_every_colon_for_a_speaker() -> None:
    text = "Anna: I need: milk\nNote: do not forget\nBob: ok\nAnna: thanks\nBob: bye\n"
    assert [turn.speaker for turn in conversation_turns(text)] == ["Anna", "Bob", "Anna", "Bob"]


def test_it_packs_turns_and_names_the_speaker_of_a_long_one() -> None:
    text = "Anna: hi there\nBob: " + "This is a long story. " * 20 + "\nAnna: I see\nBob: yes\n"
    chunks = split_conversation(text, max_tokens=30)
    assert chunks[0].text == "Anna: hi there\n"
    assert all(chunk.headings == ("Bob",) for chunk in chunks[1:-1])
    assert chunks[-1].text.endswith("Anna: I see\nBob: yes\n")


def test_it_repeats_turns_that_fit() -> None:
    text = "".join(f"{name}: word{i} and more\n" for i, name in enumerate(["Anna", "Bob"] * 6))
    chunks = split_conversation(text, max_tokens=20, overlap_turns=1)
    lines = [chunk.text.splitlines() for chunk in chunks]
    assert all(before[-1] == after[0] for before, after in pairwise(lines))
    assert sum(len(part) for part in lines) > 12
    assert all(chunk.num_tokens <= 20 for chunk in chunks)


def test_it_puts_parents_around_whole_children() -> None:
    text = "".join(f"Paragraph {i} says a little.\n\n" for i in range(40))
    chunks = split_hierarchical(text, inner_options={"max_tokens": 12}, parent_tokens=[40, 120])
    assert [chunk.level for chunk in chunks[:3]] == [2, 1, 0] and chunks[0].parent is None
    for index, chunk in enumerate(chunks):
        children = [other for other in chunks if other.parent == index]
        if chunk.level:
            assert "".join(child.text for child in children) == chunk.text
            assert chunk.num_tokens <= (40, 120)[chunk.level - 1]
        if chunk.parent is not None:
            assert chunk.parent < index and chunks[chunk.parent].level == chunk.level + 1
    assert "".join(chunk.text for chunk in chunks if chunk.level == 0) == text


def test_it_gives_parents_the_headings_of_their_children() -> None:
    text = "# A\n\n" + "words of a. " * 20 + "\n\n# B\n\n" + "words of b. " * 20
    chunks = split_hierarchical(text, inner="markdown", inner_options={"max_tokens": 20}, parent_tokens=100)
    assert [chunk.headings for chunk in chunks if chunk.level == 1] == [("A",), ("B",)]


@pytest.mark.parametrize("value", [0, [], [9, 9], [9, 3], "9", 1.5, None, [True], list(range(1, 20))])
def test_it_rejects_parents_that_do_not_grow(value: object) -> None:
    with pytest.raises(ValueError, match="parent_tokens"):
        split("text", "hierarchical", options={"parent_tokens": value})


def test_it_rejects_an_inner_strategy_that_cannot_stand_inside() -> None:
    with pytest.raises(ValueError, match="inner='hierarchical'"):
        split("text", "hierarchical", options={"inner": "hierarchical"})
    with pytest.raises(ValueError, match="is not known"):
        split("text", "hierarchical", options={"inner": "none"})


DOCUMENTS = {
    "markdown": MARKDOWN,
    "html": PAGE,
    "code": PYTHON,
    "conversation": "Anna: hi\nBob: hello\nAnna: How are you?\nBob: fine\n",
    "text": "It was a dark night. The wind blew.\n\nNobody came: it was cold. 'Yes,' he said - and left.\n" * 3,
}


@pytest.mark.parametrize("kind", DOCUMENTS)
def test_it_tells_a_document_by_its_looks(kind: str) -> None:
    text = DOCUMENTS[kind]
    assert choose_strategy(text) == kind
    named = "recursive" if kind == "text" else kind
    options = {"language": "python"} if kind == "code" else {}
    assert split_auto(text, max_tokens=40) == split(text, named, options={"max_tokens": 40} | options)


@pytest.mark.parametrize("path", sorted((ROOT / "docs").glob("*.md")), ids=lambda path: path.name)
def test_it_tells_our_documents(path: Path) -> None:
    assert choose_strategy(path.read_text()) == "markdown"


@pytest.mark.parametrize("path", sorted((ROOT / "chunking").glob("[a-z]*.py")), ids=lambda path: path.name)
def test_it_tells_our_code(path: Path) -> None:
    assert choose_strategy(path.read_text()) == "code"
    assert language_by_looks(path.read_text()) == "python"


def test_it_believes_the_name_then_the_media_type() -> None:
    assert choose_strategy("plain words", filename="a.md") == "markdown"
    assert choose_strategy("plain words", filename="a.tsx") == "code"
    assert choose_strategy("plain words", media_type="text/html; charset=utf-8") == "html"
    assert choose_strategy("plain words", media_type="text/x-python") == "code"
    assert choose_strategy("plain words", filename="a.md", media_type="text/html") == "markdown"
    assert choose_strategy(DOCUMENTS["conversation"], filename="chat.txt", media_type="text/plain") == "conversation"
    with pytest.raises(ValueError, match="filename=3 must be text"):
        split("x", "auto", options={"filename": 3})
