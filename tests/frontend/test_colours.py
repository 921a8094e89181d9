"""The contrast that dashboard.css promises (WCAG 2.2, 1.4.3 AA) for every ink on the grounds it stands on."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import frontend

AA_TEXT = 4.5
SHEET = Path(frontend.__file__).parent / "static/frontend/dashboard.css"

PAIRS = [
    *[(ink, ground) for ink in ("ink", "muted", "accent") for ground in ("ground", "surface", "sunken")],
    ("ink", "accent-soft"),
    ("muted", "accent-soft"),
    ("accent", "accent-soft"),
    ("accent-ink", "accent"),
    ("accent-ink", "accent-strong"),
    ("ink", "mark-soft"),
    ("muted", "mark-soft"),
    *[(f"{name}-ink", name) for name in ("mark", "episodic", "semantic", "procedural", "warn", "bad")],
    *[(f"tone-{n}-ink", f"tone-{n}") for n in range(6)],
]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("ink", "ground"), PAIRS, ids="-on-".join)
def test_it_keeps_text_readable(scheme: str, ink: str, ground: str) -> None:
    tokens = read_tokens(scheme)

    assert contrast(tokens[ink], tokens[ground]) >= AA_TEXT


def test_it_gives_every_colour_in_both_schemes() -> None:
    assert read_tokens("light").keys() == read_tokens("dark").keys()


def read_tokens(scheme: str) -> dict[str, str]:
    light, dark = re.findall(r":root \{(.*?)\}", SHEET.read_text(), re.DOTALL)
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", light if scheme == "light" else dark))


def contrast(one: str, other: str) -> float:
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
