"""What a judge says of answers: the share of judgings that call an answer correct.

One model answers and judges, the service's own. So the figure compares runs of one service with each other; it says
little beside figures that were made with other models or another judge.
"""

from __future__ import annotations

from memory_service import ledger
from memory_service.errors import LLMMalformed
from memory_service.llm import LLMConfig, complete_structured
from memory_service.models import EvaluationScore, Project
from memory_service.prompts.judge import Verdict, judge_prompt

from .asking import Asked, required_llm
from .datasets import Conversation, Question

ACCURACY = "accuracy"
NEEDED_FOR = "a judge"


def judge_into(
    project: Project,
    score: EvaluationScore,
    asked: Asked,
    conversation: Conversation,
    question: Question,
    *,
    num_judgings: int,
) -> None:
    """Adds the answer and `accuracy` to the score; nothing where the set has no answer to hold it against.

    What it costs is the project's. Raises LLMUnavailable and LLMRejected.
    """
    if question.answer is None:
        return
    config = required_llm(NEEDED_FOR)
    score.answer = asked.answer(conversation, question)
    with ledger.charged(project):
        verdicts = [_judge(config, question, score.answer) for _ in range(num_judgings)]
    said = [verdict for verdict in verdicts if verdict is not None]
    if said:
        score.metrics = {**score.metrics, ACCURACY: sum(said) / len(said)}


def _judge(config: LLMConfig, question: Question, answer: str) -> bool | None:
    """None where the judge gave no verdict that could be read."""
    assert question.answer is not None  # judge_into has looked
    prompt = judge_prompt(question.text, question.answer, answer)
    try:
        verdict, _ = complete_structured(config, prompt, Verdict, purpose="evaluation_judge")
    except LLMMalformed:
        return None
    return verdict.correct
