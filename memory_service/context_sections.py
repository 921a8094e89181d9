"""What a context may hold beside the memories that answer the question: a summary, a profile, relations."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from . import retrieval
from .extractive import split_sentences
from .filters import ENTITY_FIELDS, Filter, Test
from .formats import Section
from .knowledge.search import relations_for
from .models import Profile, Project, Relation, Session
from .retrieval import Hit, SearchRequest

MAX_RELATIONS = 20
MAX_SUMMARIES = 3  # of the sessions last spoken in


def load_sections(project: Project, search: SearchRequest, names: Iterable[str], hits: Sequence[Hit]) -> list[Section]:
    """Those of `names` that the project has something for, in the order of SECTIONS."""
    wanted = set(names)
    found = (Section(name, tuple(load(project, search, hits))) for name, load in SECTIONS.items() if name in wanted)
    return [section for section in found if section.lines]


def _summary(project: Project, search: SearchRequest, hits: Sequence[Hit]) -> Iterator[str]:
    """Of the sessions that the filter reaches and that were last spoken in, the newest first; none where the filter
    chooses among memories, as a summary is of all that was said."""
    if not _only_names(search.filter):
        return
    scopes = retrieval.find_scopes(project, search.filter)
    sessions = Session.objects.filter(scope_id__in=scopes).exclude(summary="")
    runs = named(search.filter, "run_id")
    if runs:
        sessions = sessions.filter(run_id__in=runs)
    for session in sessions.order_by("-last_said_at", "-id")[:MAX_SUMMARIES]:
        yield from split_sentences(session.summary)


def _profile(project: Project, search: SearchRequest, hits: Sequence[Hit]) -> Iterator[str]:
    users = named(search.filter, "user_id") if _only_names(search.filter) else []
    for profile in Profile.objects.filter(project=project, user_id__in=users).exclude(profile=None).order_by("user_id"):
        yield from _flat(profile.profile)


def _flat(value: Any, path: str = "") -> Iterator[str]:
    """`work.employer: Hansa` for each value of a profile that is not empty."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(inner, f"{path}.{key}" if path else str(key))
    elif value not in (None, "", [], {}):
        shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        if isinstance(value, list) and all(isinstance(one, str) for one in value):
            shown = "; ".join(value)
        yield f"{path}: {shown}"


def _relations(project: Project, search: SearchRequest, hits: Sequence[Hit]) -> Iterator[str]:
    found = relations_for(
        project, search.query, search.filter, MAX_RELATIONS, as_of=search.moment.as_of, hits=list(hits)
    )
    for relation in (hit.relation for hit in found):
        if relation.origin == Relation.Origin.CO_OCCURRENCE:
            continue  # that two names stand together says too little for a prompt
        yield f"{relation.source.name} {relation.type.replace('_', ' ')} {relation.target.name}"


SECTIONS: dict[str, Callable[[Project, SearchRequest, Sequence[Hit]], Iterator[str]]] = {
    "summary": _summary,
    "profile": _profile,
    "relations": _relations,
}


def _only_names(node: Filter) -> bool:
    if isinstance(node, Test):
        return node.field in ENTITY_FIELDS and node.operator in ("eq", "in", "any")
    return node.operator == "AND" and all(map(_only_names, node.parts))


def named(node: Filter, field: str) -> list[str]:
    """The values of an entity id that the filter is bound to: by equality, in an AND."""
    if isinstance(node, Test):
        if node.field != field or node.operator not in ("eq", "in"):
            return []
        return [str(value) for value in (node.value if node.operator == "in" else [node.value])]
    return [name for part in node.parts for name in named(part, field)] if node.operator == "AND" else []
