"""The sample conversations that an empty database is filled with: our own writing, Apache-2.0.

"maya" is two friends over twenty months; "team-harbour" is three colleagues over four. In both,
facts change and are corrected, so that a memory that only ever adds gives wrong answers.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from importlib import resources
from typing import Any

SAMPLE_QUESTIONS: list[tuple[str, str, tuple[str, ...]]] = [
    # user_id, question, words that the right memory contains (compared without regard to case)
    ("maya", "What is Maya allergic to?", ("cashews", "pistachios")),
    ("maya", "What was Tom's band called before Marrow Lane?", ("Tin Lanterns",)),
    ("maya", "What is the name of Maya's second dog?", ("Lakris",)),
    ("maya", "Which city did Maya move to for the job at the Fjordlys Institute?", ("Oslo",)),
    ("maya", "Where does Maya run in Lisbon?", ("Belém", "Cais do Sodré")),
    ("maya", "Who looks after the dogs while Maya is in Japan?", ("Signe",)),
    ("maya", "Why was the trip to Japan postponed?", ("printer", "April")),
    ("maya", "What did Maya like best in Japan?", ("Kanazawa", "favourite")),
    ("maya", "Where is Tom moving to?", ("Cardiff",)),
    ("maya", "When is Adaeze's baby due?", ("18 November",)),
    ("team-harbour", "Which database did the team switch to?", ("PostgreSQL",)),
    ("team-harbour", "What is Brightwater Marine called since the merger?", ("Solvane Harbours",)),
    ("team-harbour", "What is the new release date?", ("6 May",)),
    ("team-harbour", "Who is on call in June?", ("June", "Ines for July")),
    ("team-harbour", "When does Eastmere want a demo?", ("12 June",)),
]


def load() -> Iterator[dict[str, Any]]:
    """Each session: user_id, run_id, timestamp (aware), messages [{id, role, name, content}]."""
    lines = resources.files(__name__).joinpath("conversations.jsonl").read_text(encoding="utf-8")
    for line in lines.splitlines():
        session = json.loads(line)
        yield session | {"timestamp": datetime.fromisoformat(session["timestamp"])}
