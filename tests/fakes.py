"""Stand-ins for what a test cannot have: a language model and an embedding model that always say the same."""

from tests.scripted_llm import (
    Body,
    CutShort,
    Hang,
    Malformed,
    ScriptedLLM,
    Slow,
    Status,
    Text,
    asked_for,
    embed_words,
    prompt_of,
)

__all__ = [
    "Body",
    "CutShort",
    "Hang",
    "Malformed",
    "ScriptedLLM",
    "Slow",
    "Status",
    "Text",
    "asked_for",
    "embed_words",
    "prompt_of",
]
