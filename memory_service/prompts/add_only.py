"""Ask once, for what is new beside the memories that exist: the add-only policy (mem0 v3, April 2026)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from memory_service.extraction.types import SourceMessage
from memory_service.prompts.extract import (
    RULES,
    SHAPE,
    TASK,
    Facts,
    context_sections,
    numbered_lines,
    section,
)

__all__ = ["Facts", "add_only_prompt"]  # the answer has the same shape as the two-phase extractor's

ADDITIONS = """\
KNOWN MEMORIES lists what is stored already. Nothing in it will be changed or removed: you only add.
- Do not write down again what one of them says, in whatever words.
- Where a new message changes or contradicts one of them, write the new state as a fact of its own that says
  what changed ("Maria no longer works at Nordbank; since 2024-03-01 she works at Ostbank").
- Where a new message only adds a detail, write a fact with that detail that can be understood alone."""


def add_only_prompt(
    messages: Mapping[int, SourceMessage],
    *,
    summary: str,
    window: Sequence[SourceMessage],
    known: Sequence[str],
    wishes: str = "",
) -> list[dict[str, str]]:
    """messages: the new ones by small number. known: the texts of the memories nearest to them."""
    listed = "\n".join(json.dumps(text, ensure_ascii=False) for text in known) or "(none)"
    data = [
        *context_sections(summary, window),
        section("KNOWN MEMORIES (context only)", listed),
        section("NEW MESSAGES", numbered_lines(messages)),
    ]
    return [
        {"role": "system", "content": "\n\n".join(filter(None, (TASK, RULES, ADDITIONS, wishes, SHAPE)))},
        {"role": "user", "content": "\n\n".join(data)},
    ]
