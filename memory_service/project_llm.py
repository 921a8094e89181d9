"""Which language model works for a project, and how far its policy lets it."""

from __future__ import annotations

from django.conf import settings

from .llm import LLMConfig
from .models import ExtractionPolicy, Project
from .policies import Policy


def project_policy(project: Project) -> Policy:
    """What the project's policy comes to with the LLM that is, or is not, configured."""
    if not settings.ENV.llm_model or project.extraction_policy == ExtractionPolicy.LOCAL:
        return "local"
    return "add_only" if project.extraction_policy == ExtractionPolicy.ADD_ONLY else "two_phase"


def llm_config() -> LLMConfig | None:
    env = settings.ENV
    if not env.llm_model:
        return None
    return LLMConfig(
        model=env.llm_model,
        api_base=env.llm_api_base or None,
        api_key=env.llm_api_key or None,
        timeout_s=env.llm_timeout_s,
    )


def llm_of(project: Project) -> LLMConfig | None:
    """The model that works for the project; None where it does without."""
    return llm_config() if project_policy(project) != "local" else None
