"""Answers by the language model, and what a judge says of them: the share of judgings that call an answer correct.

One model answers and judges, the service's own. So the figure compares runs of one service with each other; it says
little beside figures that were made with other models or another judge.
"""

from __future__ import annotations

from memory_service import ledger
from memory_service.errors import InvalidInput, LLMMalformed
from memory_service.llm import LLMConfig, complete, complete_structured
from memory_service.models import EvaluationScore, Project
from memory_service.project_llm import llm_config
from memory_service.prompts.answer_from_hits import answer_prompt
from memory_service.prompts.judge import Verdict, judge_prompt

from .asking import Found
from .datasets import Question
from .metrics import num_fitting

ACCURACY = "accuracy"
EVIDENCE_TOKENS = 2000  # of what is retrieved, shown to the model that answers
MAX_ANSWER_TOKENS = 300


def required_llm() -> LLMConfig:
    """Raises InvalidInput where none is configured."""
    config = llm_config()
    if config is None:
        raise InvalidInput("a judge needs a language model, and none is configured: set LLM_MODEL")
    return config


def judge_into(
    project: Project, score: EvaluationScore, question: Question, found: Found, *, num_judgings: int
) -> None:
    """Adds the answer and `accuracy` to the score; nothing where the set has no answer to hold it against.

    What it costs is the project's. Raises LLMUnavailable and LLMRejected.
    """
    if question.answer is None:
        return
    config = required_llm()
    with ledger.charged(project):
        score.answer = _answer(config, question, found)
        verdicts = [_judge(config, question, score.answer) for _ in range(num_judgings)]
    said = [verdict for verdict in verdicts if verdict is not None]
    if said:
        score.metrics = {**score.metrics, ACCURACY: sum(said) / len(said)}


def _answer(config: LLMConfig, question: Question, found: Found) -> str:
    """The seam to answering: from the hits that fit into EVIDENCE_TOKENS."""
    fitting = num_fitting([hit.tokens for hit in found.ranked], EVIDENCE_TOKENS)
    today = f"{question.asked_at:%Y-%m-%d}" if question.asked_at else None
    prompt = answer_prompt(question.text, found.texts[:fitting], today=today)
    return complete(config, prompt, purpose="evaluation_answer", max_tokens=MAX_ANSWER_TOKENS).text.strip()


def _judge(config: LLMConfig, question: Question, answer: str) -> bool | None:
    """None where the judge gave no verdict that could be read."""
    assert question.answer is not None  # judge_into has looked
    prompt = judge_prompt(question.text, question.answer, answer)
    try:
        verdict, _ = complete_structured(config, prompt, Verdict, purpose="evaluation_judge")
    except LLMMalformed:
        return None
    return verdict.correct
