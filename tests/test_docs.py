"""The documents name what is there: variables, links, make targets, paths."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from memory_service.config import Environment

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
DOCUMENTS = [README, *sorted((ROOT / "docs").glob("*.md"))]

FENCE = re.compile(r"^(```|~~~).*?^\1\s*$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def section(text: str, title: str) -> str:
    """What stands under a heading, to the next heading of its level."""
    found = re.search(rf"^(#+) {re.escape(title)}\n(.*?)(?=^\1 |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, f"there is no section {title!r}"
    return found[2]


def written_default(default: Any) -> str:
    """A default as the table writes it."""
    if default in ("", (), None):
        return "empty"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    return f"`{default:g}`" if isinstance(default, float) else f"`{default}`"


def anchors(path: Path) -> set[str]:
    """The anchors that GitHub gives a document's headings."""
    found: dict[str, int] = {}
    for title in re.findall(r"^#{1,6}\s+(.+?)\s*$", FENCE.sub("", path.read_text()), re.MULTILINE):
        slug = re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
        found[slug] = found.get(slug, -1) + 1
    return {slug if i == 0 else f"{slug}-{i}" for slug, count in found.items() for i in range(count + 1)}


def relative_links(path: Path) -> list[str]:
    return [link for link in LINK.findall(FENCE.sub("", path.read_text())) if "://" not in link]


def is_broken(path: Path, link: str) -> bool:
    target, _, anchor = link.partition("#")
    file = (path.parent / target).resolve() if target else path
    return not file.exists() or (bool(anchor) and anchor not in anchors(file))


def code_of(text: str) -> Iterator[str]:
    """Fenced blocks and code spans."""
    yield from (match[0] for match in FENCE.finditer(text))
    yield from re.findall(r"`([^`\n]+)`", FENCE.sub("", text))


def api_paths() -> list[str]:
    """The paths of memory_service/api/urls.py as a document writes them: /v1/event/{event_id}/."""
    routes = re.findall(r'\b(?:path|both)\("([^"]+)"', (ROOT / "memory_service/api/urls.py").read_text())
    return ["/" + re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", route) for route in routes]


def test_it_names_every_variable_with_its_default() -> None:
    table = section(README.read_text(), "Configuration")
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+?) \| [^|]+ \|$", table, re.MULTILINE)
    expected = {name.upper(): written_default(field.default) for name, field in Environment.model_fields.items()}
    assert dict(rows) == expected
    assert len(rows) == len(expected), "a variable stands twice in the table"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_it_links_only_to_what_is_there(path: Path) -> None:
    assert [link for link in relative_links(path) if is_broken(path, link)] == []


def test_it_links_to_every_document_from_the_readme() -> None:
    linked = {link.partition("#")[0] for link in relative_links(README)}
    assert {f"docs/{path.name}" for path in DOCUMENTS if path != README} <= linked


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_it_names_only_make_targets_that_exist(path: Path) -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):(?!=)", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {name for code in code_of(path.read_text()) for name in re.findall(r"\bmake ([a-z][a-z-]*)", code)}
    assert named <= targets
    assert named or path != README


def test_it_lists_every_path_of_the_api() -> None:
    rows = re.findall(r"^\| `(?:GET|POST|PUT|DELETE) (/\S*)` \|", (ROOT / "docs/api.md").read_text(), re.MULTILINE)
    paths = api_paths()
    assert len(paths) > 20
    assert set(rows) == {*paths, "/healthz", "/readyz"}


def test_it_keeps_the_place_for_the_figures() -> None:
    text = README.read_text()
    assert text.count("<!-- figures:start -->") == text.count("<!-- figures:end -->") == 1
    assert text.index("<!-- figures:start -->") < text.index("<!-- figures:end -->")
