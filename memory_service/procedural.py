"""How an agent did a task, as one memory: goal, steps in order with their results, outcome.

By a model, or without one from the roles: what an assistant says is an action, and what comes back from a user, a tool
or a page is its result, each cut to its first sentences. The text rests on every message of the run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from .extraction.rendered import strip_rendered
from .extraction.types import Candidate, Extraction, Grounding, SourceMessage
from .extractive import num_words, split_sentences
from .llm import LLMConfig, complete_structured
from .prompts.procedural import Procedure, Step, procedure_prompt

MEMORY_TYPE = "procedural_memory"  # the protocol's word
MAX_ACTION_WORDS, MAX_RESULT_WORDS, MAX_GOAL_WORDS = 40, 40, 60
MAX_TEXT_CHARS = 60_000  # of the memory; a longer run keeps its beginning and its end


def extract_llm(config: LLMConfig, messages: Sequence[SourceMessage], *, instructions: str = "") -> Extraction:
    """Raises LLMUnavailable, LLMRejected, LLMMalformed, BudgetExhausted."""
    run = _run(messages)
    if not run:
        return _nothing()
    procedure, usage = complete_structured(
        config, procedure_prompt(run, instructions=instructions), Procedure, purpose="procedural"
    )
    extraction = _extraction(procedure, run)
    extraction.usage = usage
    return extraction


def extract_local(messages: Sequence[SourceMessage]) -> Extraction:
    """The same without a model; deterministic."""
    run = _run(messages)
    if not run:
        return _nothing()
    goal = ""
    steps: list[Step] = []
    for message in run:
        if message.role == "assistant":
            steps.append(Step(action=_short(message.content, MAX_ACTION_WORDS)))
        elif steps:
            told = _short(message.content, MAX_RESULT_WORDS)
            steps[-1].result = f"{steps[-1].result} {told}".strip()
        elif message.role == "user":
            goal = f"{goal} {_short(message.content, MAX_GOAL_WORDS)}".strip()
    outcome = steps[-1].result or steps[-1].action if steps else ""
    return _extraction(Procedure(goal=goal, steps=steps, outcome=outcome), run)


def _run(messages: Sequence[SourceMessage]) -> list[SourceMessage]:
    """What the agent did and what came back. Tools speak with the system's role; a system's text before the first
    action is the agent's own instruction."""
    run: list[SourceMessage] = []
    acted = False
    for message in messages:
        acted = acted or message.role == "assistant"
        content, _ = strip_rendered(message.content)
        if content.strip() and (acted or message.role != "system"):
            run.append(replace(message, content=content))
    return run


def _short(text: str, max_words: int) -> str:
    """Whole sentences from the beginning, as many as fit; of one that is too long its beginning."""
    kept: list[str] = []
    for sentence in split_sentences(text):
        if num_words(" ".join([*kept, sentence])) > max_words:
            break
        kept.append(sentence)
    words = text.split()
    return " ".join(kept) or " ".join([*words[:max_words], "..."])


def _nothing() -> Extraction:
    return Extraction(notes=["the messages hold no action of an agent and nothing that was asked of it"])


def _extraction(procedure: Procedure, run: Sequence[SourceMessage]) -> Extraction:
    text = render(procedure)
    if not text:
        return _nothing()
    last = run[-1]
    candidate = Candidate(
        text=text,
        kind="procedural",
        grounding=tuple(Grounding(message.id, 0, len(message.content)) for message in run),
        speaker=next((message.name for message in run if message.role == "assistant" and message.name), None),
        valid_at=last.said_at,
    )
    return Extraction(candidates=[candidate])


def render(procedure: Procedure) -> str:
    """Goal, numbered steps, outcome; a line each."""
    lines = [f"Goal: {_line(procedure.goal)}"] if procedure.goal.strip() else []
    steps = [step for step in procedure.steps if step.action.strip()]
    lines += [_step(number, step) for number, step in enumerate(steps, 1)]
    if procedure.outcome.strip():
        lines.append(f"Outcome: {_line(procedure.outcome)}")
    text = "\n".join(lines)
    if len(text) > MAX_TEXT_CHARS:
        half = MAX_TEXT_CHARS // 2
        text = f"{text[:half]}\n...\n{text[-half:]}"
    return text


def _step(number: int, step: Step) -> str:
    result = f" -> {_line(step.result)}" if step.result.strip() else ""
    return f"{number}. {_line(step.action)}{result}"


def _line(text: str) -> str:
    return " ".join(text.split())
