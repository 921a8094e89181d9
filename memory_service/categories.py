"""Categories of memories without a model: by words, and by the nearness of a memory to what a category says of itself.

    score(memory, category) = cosine(memory, category) + WORD_BONUS * (the memory holds a word of the category)

The memory's vector is the one that it is stored with. A category is embedded once in a process, from its name and its
description. So nothing is computed for a message but one product of small matrices. A memory has the categories that
reach THRESHOLD, at most MAX_CATEGORIES of them, best first. Where the project has no list of its own, DEFAULT is used,
and the attribute that a statement's pattern found ("is allergic to") names a category as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
from django.db import transaction
from django.db.models import F, Q

from .embedding import Vectors, embed_texts, serving_profile
from .extraction.types import Candidate
from .lexical import terms
from .models import Event, LifecycleSettings, Memory, MemoryRevision, Project
from .retrieval import load_vectors

WORD_BONUS = 0.2
THRESHOLD = 0.3  # both chosen on the labelled examples of tests/memory_service/category_examples.py: docs/lifecycle.md
MAX_CATEGORIES = 3
BATCH = 500
POLICY = "categories"  # in revisions

Wanted = Mapping[str, str]

# mem0's default list. The descriptions are ours, and so are the words in them.
DEFAULT: list[dict[str, str]] = [
    {"personal_details": "name, age, birthday, born, address, home town, lives, live, moved, nationality, language"},
    {"family": "mother, father, parents, brother, sister, son, daughter, child, wife, husband, cousin, aunt, uncle"},
    {"professional_details": "job, work, works, career, employer, colleague, boss, office, salary, engineer, nurse"},
    {"sports": "football, soccer, tennis, running, marathon, gym, swimming, cycling, team, match, coach, training"},
    {"travel": "trip, travel, flight, hotel, vacation, holiday, abroad, airport, journey, visit a country, passport"},
    {"food": "eat, eats, cook, meal, recipe, restaurant, vegetarian, vegan, breakfast, dinner, coffee, tea, cuisine"},
    {"music": "song, band, concert, piano, guitar, violin, singer, album, playlist, choir, listens to music"},
    {"health": "doctor, illness, allergy, allergic, medicine, hospital, diagnosed, therapy, sleep, pain, diet, asthma"},
    {"technology": "computer, laptop, phone, software, app, programming, code, internet, device, server, database"},
    {"hobbies": "hobby, painting, gardening, photography, knitting, chess, reading books, collects, crafts, fishing"},
    {"fashion": "clothes, dress, shoes, jacket, style, outfit, wear, wears, jewellery, fashion brand, sneakers"},
    {"entertainment": "film, movie, series, television, video game, cinema, theatre, show, comedy, streaming, actor"},
    {"milestones": "graduated, graduation, wedding, married, engaged, anniversary, birth, retired, promotion, award"},
    {"user_preferences": "likes, loves, prefers, dislikes, hates, favourite, favorite, wants, rather, cannot stand"},
    {"misc": "other things that belong to none of the categories"},
]
CATCH_ALL = "misc"  # never by nearness: it is near to nothing, and what is in no category may stay in none


def read(entries: Iterable[Any]) -> dict[str, str]:
    """{name: description} from [{name: description}, ...], as the protocol writes it."""
    return {
        str(name): str(meaning or "")
        for entry in entries
        if isinstance(entry, Mapping)
        for name, meaning in entry.items()
    }


def of_project(project: Project) -> dict[str, str]:
    return read(project.custom_categories) or read(DEFAULT)


def wanted(event: Event) -> dict[str, str]:
    """Those of the call, else of the project, else the default ones."""
    asked = (event.options.get("wishes") or {}).get("custom_categories")
    return read(asked or []) or of_project(event.project)


def label(candidates: Sequence[Candidate], vectors: Vectors, *, wanted: Wanted) -> list[Candidate]:
    """The candidates with their categories; only facts get any. vectors: (N, D), theirs, unit length."""
    rows = [i for i, candidate in enumerate(candidates) if candidate.kind == "semantic"]
    if not rows or not wanted:
        return list(candidates)
    labelled = list(candidates)
    found = assign([candidates[i].text for i in rows], vectors[rows], wanted)
    for i, names in zip(rows, found, strict=True):
        known = [name for name in candidates[i].categories if name in wanted]
        labelled[i] = replace(candidates[i], categories=tuple(dict.fromkeys([*known, *names]))[:MAX_CATEGORIES])
    return labelled


def assign(texts: Sequence[str], vectors: Vectors, wanted: Wanted) -> list[list[str]]:
    """For each text the names of its categories, best first. vectors: (N, D), unit length."""
    scores = score(texts, vectors, wanted)  # (N, C)
    names = list(wanted)
    return [
        [names[c] for c in np.argsort(-row, kind="stable")[:MAX_CATEGORIES].tolist() if row[c] >= THRESHOLD]
        for row in scores
    ]


def score(texts: Sequence[str], vectors: Vectors, wanted: Wanted) -> Any:
    """(N, C) scores, categories in the order of `wanted`; the catch-all's are 0."""
    known = _embedded(serving_profile().pk, tuple(wanted.items()))
    scores = vectors @ known.T  # (N, C)
    words = [_words(name, meaning) for name, meaning in wanted.items()]
    for row, text in enumerate(texts):
        held = set(terms(text))
        scores[row] += np.array([WORD_BONUS if held & of_category else 0.0 for of_category in words], scores.dtype)
    if CATCH_ALL in wanted:
        scores[:, list(wanted).index(CATCH_ALL)] = 0.0
    return scores


@lru_cache(maxsize=64)
def _embedded(profile_id: int, wanted: tuple[tuple[str, str], ...]) -> Vectors:
    """(C, D), unit length. profile_id: a change of model makes other vectors."""
    vectors = embed_texts([f"{name.replace('_', ' ')}: {meaning}" for name, meaning in wanted])
    vectors.setflags(write=False)
    return vectors


@lru_cache(maxsize=1024)
def _words(name: str, meaning: str) -> frozenset[str]:
    return frozenset(terms(f"{name.replace('_', ' ')} {meaning}"))


# When a project's categories change


def projects_to_recategorise() -> list[Project]:
    """Those whose facts were sorted into another list than the one they have now, and nothing of it under way."""
    busy = Event.objects.unfinished().filter(type=Event.Type.CATEGORIZE).values("project")
    first = Q(lifecycle__isnull=True) & ~Q(custom_categories=[])
    changed = Q(lifecycle__isnull=False) & ~Q(lifecycle__categories=F("custom_categories"))
    return list(Project.objects.filter(first | changed).exclude(pk__in=busy).order_by("pk"))


def recategorise(project: Project, *, event: Event) -> int:
    """Sorts the project's live facts into its present categories. Returns how many changed.

    Names that are in neither the old list nor the new one were given by somebody else, and stay. Each change is a
    revision with the operation CATEGORIZE. May run twice: the second time nothing is left to change.
    """
    settings, _ = LifecycleSettings.objects.get_or_create(project=project)
    old = read(settings.categories) or read(DEFAULT)
    asked = list(project.custom_categories)
    new = read(asked) or read(DEFAULT)
    num_changed, last_id = 0, 0
    while True:
        rows = Memory.objects.in_project(project).live().filter(kind=Memory.Kind.SEMANTIC, pk__gt=last_id)
        batch = list(rows.order_by("pk")[:BATCH])
        if not batch:
            break
        last_id = batch[-1].pk
        num_changed += _recategorise_batch(batch, old, new, event)
    LifecycleSettings.objects.filter(project=project).update(categories=asked)
    return num_changed


def _recategorise_batch(batch: Sequence[Memory], old: Wanted, new: Wanted, event: Event) -> int:
    ids, vectors = load_vectors([memory.pk for memory in batch])
    place = {int(memory_id): row for row, memory_id in enumerate(ids)}
    found = [memory for memory in batch if memory.pk in place]
    if not found:
        return 0
    rows = [place[memory.pk] for memory in found]
    names = assign([memory.text for memory in found], vectors[rows], new)
    decided = {memory.pk: chosen for memory, chosen in zip(found, names, strict=True)}
    with transaction.atomic():
        locked = Memory.objects.live().select_for_update().filter(pk__in=decided).order_by("pk")
        changed = []
        for memory in locked:
            foreign = [name for name in memory.categories if name not in old and name not in new]
            categories = list(dict.fromkeys([*foreign, *decided[memory.pk]]))
            if categories != memory.categories:
                memory.categories = categories
                changed.append(memory)
        Memory.objects.bulk_update(changed, ["categories"])
        MemoryRevision.objects.bulk_create(_revision(memory, event) for memory in changed)
    return len(changed)


def _revision(memory: Memory, event: Event) -> MemoryRevision:
    return MemoryRevision(
        memory=memory,
        event=event,
        operation=MemoryRevision.Operation.CATEGORIZE,
        old_text=memory.text,
        new_text=memory.text,
        reason="the project's categories changed",
        policy=POLICY,
        metadata=memory.metadata,
        categories=memory.categories,
    )
