"""Profiles: what is known of a user, as one JSON object in the shape that the project's schema gives it.

Made from the user's live facts. Without a model each property of the schema takes the facts that speak of it: by the
attribute of the statement, by its words and by the nearness of its vector. With one, that draft and the facts are shown
to the model, whose answer must satisfy the schema; where it does not, the draft stands and the notes say so.

A profile is made when a job asks for it, and by itself when a user has MIN_FACTS facts and again when enough of them
have changed.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import Any

import jsonschema
import numpy as np
from django.db import IntegrityError, connection, transaction
from django.db.models import Count
from django.utils import timezone

from . import ledger
from .embedding import Vectors, embed_texts, serving_profile
from .errors import Conflict, InvalidInput, LLMMalformed, LLMUnavailable, NotFound, ServiceError, TooSoon
from .lexical import terms
from .llm import LLMConfig, complete, parse_json
from .locks import Kind, advisory_lock
from .models import Event, EventStatus, IdempotencyKey, LifecycleSettings, Memory, Profile, Project, Scope
from .project_llm import llm_of
from .prompts.profile import profile_prompt
from .retrieval import load_vectors

logger = logging.getLogger(__name__)

MIN_FACTS = 3
MIN_CHANGES, MIN_CHANGED_SHARE = 5, 0.2  # of the facts since the last time, from which it is made again
MAX_FACTS = 400  # that one profile is made from, newest first
MAX_SAMPLE, DEFAULT_SAMPLE = 10, 5
SAMPLE_PAUSE = timedelta(minutes=1)
KEY_LIFE = timedelta(days=7)  # of an Idempotency-Key
RETRY_PAUSE = timedelta(minutes=10)  # after one that failed
MAX_SCHEMA_CHARS, MAX_SCHEMA_DEPTH, MAX_PROPERTIES = 20_000, 5, 100
MAX_INSTRUCTIONS_CHARS = 10_000
MAX_LISTED = 20  # facts in one list of a profile made without a model

WORD_BONUS, ATTRIBUTE_BONUS, THRESHOLD = 0.15, 0.35, 0.42  # of fill(), beside a cosine; docs/lifecycle.md

REFUSED_KEYWORDS = ("$ref", "$dynamicRef", "pattern", "patternProperties")
GENERIC = frozenset(terms("user users person people"))  # they stand in every description and tell nothing apart
TYPES = ("string", "number", "integer", "boolean", "array", "object", "null")

DEFAULT_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "description": "the user's name"},
        "location": {"type": "string", "description": "where the user lives, home city or country"},
        "occupation": {"type": "string", "description": "the user's job, profession, employer, where they work"},
        "family": {"type": "array", "description": "family members: partner, children, parents, brothers and sisters",
                   "items": {"type": "string"}},
        "interests": {"type": "array", "description": "hobbies, sports, music and other interests",
                      "items": {"type": "string"}},
        "preferences": {"type": "array", "description": "what the user likes, dislikes, prefers, favourite things",
                        "items": {"type": "string"}},
        "health": {"type": "array", "description": "health, allergies, diet and illnesses",
                   "items": {"type": "string"}},
        "plans": {"type": "array", "description": "plans, goals, trips and appointments ahead",
                  "items": {"type": "string"}},
    },
}  # fmt: skip


# Settings


@dataclass(frozen=True, slots=True)
class ProfileSettings:
    enabled: bool
    schema: dict[str, Any] | None
    custom_instructions: str | None

    @property
    def effective_schema(self) -> dict[str, Any]:
        return self.schema or DEFAULT_SCHEMA


def read_settings(project: Project) -> ProfileSettings:
    row = LifecycleSettings.objects.filter(project=project).first()
    if row is None:
        return ProfileSettings(False, None, None)
    return ProfileSettings(row.profiles_enabled, row.profile_schema, row.profile_instructions)


def save_settings(project: Project, changes: Mapping[str, Any]) -> ProfileSettings:
    """changes: enabled, schema, custom_instructions; what is not named stays. Raises InvalidInput."""
    columns = {
        "enabled": "profiles_enabled",
        "schema": "profile_schema",
        "custom_instructions": "profile_instructions",
    }
    if changes.get("schema") is not None:
        check_schema(changes["schema"])
    named = {columns[name]: value for name, value in changes.items()}
    LifecycleSettings.objects.update_or_create(project=project, defaults=named)
    return read_settings(project)


def check_schema(schema: Any) -> None:
    """Raises InvalidInput unless it is an object's JSON schema whose every property has a type and a description."""
    if not isinstance(schema, dict) or schema.get("type", "object") != "object":
        raise InvalidInput("schema must be a JSON schema of type object, e.g. {'properties': {'name': {...}}}")
    if len(json.dumps(schema)) > MAX_SCHEMA_CHARS:
        raise InvalidInput(f"schema is over {MAX_SCHEMA_CHARS} characters of JSON")
    _check_keywords(schema)
    count = _check_properties(schema, "schema", 1)
    if count > MAX_PROPERTIES:
        raise InvalidInput(f"schema has {count} properties: at most {MAX_PROPERTIES} are accepted")
    try:
        jsonschema.Draft202012Validator.check_schema(schema)
    except (jsonschema.SchemaError, RecursionError) as exc:
        told = getattr(exc, "message", str(exc))
        raise InvalidInput(f"schema is not a JSON schema: {told[:200]}") from exc


def _check_keywords(schema: Any, *, are_names: bool = False) -> None:
    """No references, which could be circular, and no regular expressions, which could take for ever."""
    for key, value in schema.items() if isinstance(schema, dict) else ():
        if key in REFUSED_KEYWORDS and not are_names:
            raise InvalidInput(f"schema: {key} is not accepted; write the properties out, without patterns")
        for inner in value if isinstance(value, list) else [value]:
            _check_keywords(inner, are_names=key == "properties" and not are_names)


def _check_properties(schema: Mapping[str, Any], place: str, depth: int) -> int:
    properties = schema.get("properties")
    if not isinstance(properties, dict) or not properties:
        raise InvalidInput(f"{place}.properties must be a non-empty object")
    if depth > MAX_SCHEMA_DEPTH:
        raise InvalidInput(f"{place} is nested too deeply: {MAX_SCHEMA_DEPTH} levels are accepted")
    count = 0
    for name, inner in properties.items():
        at = f"{place}.properties.{name[:80]}"
        if not isinstance(inner, dict):
            raise InvalidInput(f"{at} must be an object with a description")
        if not (isinstance(inner.get("description"), str) and inner["description"].strip()):
            raise InvalidInput(f"{at} needs a description: it says what belongs there")
        if type_of(inner) not in TYPES:
            raise InvalidInput(f"{at}.type is unknown; accepted are {', '.join(TYPES)}")
        count += 1 + (_check_properties(inner, at, depth + 1) if type_of(inner) == "object" else 0)
    return count


def type_of(schema: Mapping[str, Any]) -> Any:
    """The first type that is not null; an object where it has properties, else a string."""
    declared = schema.get("type", "object" if "properties" in schema else "string")
    if isinstance(declared, list):
        return next((one for one in declared if one != "null"), "null")
    return declared


# Reading


def facts_of(project: Project, user_id: str) -> Any:
    return Memory.objects.in_project(project).live().filter(user_id=user_id, kind=Memory.Kind.SEMANTIC)


def find(project: Project, user_id: str) -> tuple[Profile, str]:
    """The user's profile (without a row: an empty one) and its status. Raises NotFound for an unknown user."""
    if not Scope.objects.filter(project=project, user_id=user_id).exists():
        raise NotFound(f"user {user_id!r} was not found in this project")
    found = Profile.objects.filter(project=project, user_id=user_id).first()
    profile = found or Profile(project=project, user_id=user_id)
    return profile, _status(project, profile)


def _status(project: Project, profile: Profile) -> str:
    if not read_settings(project).enabled:
        return "not_enabled"
    if _under_way(project, profile.user_id):
        return "pending"
    if profile.error:
        return "failed"
    if profile.generated_at is not None:
        return "succeeded"
    enough = facts_of(project, profile.user_id).count() >= MIN_FACTS
    return "pending" if enough else "insufficient_data"


def _under_way(project: Project, user_id: str) -> bool:
    jobs = Event.objects.unfinished().filter(project=project, type=Event.Type.PROFILE)
    return jobs.filter(options__entity_ids__contains=[user_id]).exists()


# Making one


@dataclass(frozen=True, slots=True)
class Made:
    profile: dict[str, Any]
    method: str
    notes: list[str]


def generate(project: Project, user_id: str, *, event: Event | None = None) -> str:
    """Makes the user's profile and stores it. Returns succeeded, failed or skipped (not enough facts).

    Raises LLMUnavailable, and TooSoon where another worker is at it.
    """
    row, _ = Profile.objects.get_or_create(project=project, user_id=user_id)
    with advisory_lock(Kind.PROFILE, row.pk) as held:
        if not held:
            raise TooSoon(f"the profile of {user_id!r} is being made already", retry_after_s=5)
        started = timezone.now()
        facts = list(facts_of(project, user_id).order_by("-said_at", "-id")[:MAX_FACTS])
        if len(facts) < MIN_FACTS:
            return "skipped"
        settings = read_settings(project)
        try:
            with ledger.charged(project, event=event, user_id=user_id):
                made = make(facts, settings, llm_of(project))
        except LLMUnavailable:
            raise
        except ServiceError as exc:
            logger.warning("the profile of a user of project %s failed: %s", project.public_id, exc)
            _store(row, error=str(exc), retry_at=timezone.now() + RETRY_PAUSE)
            return "failed"
        _store(
            row,
            profile=made.profile,
            method=made.method,
            notes=made.notes,
            error="",
            num_facts=len(facts),
            generated_at=started,
            generation_count=row.generation_count + 1,
            retry_at=None,
        )
        return "succeeded"


def _store(row: Profile, **values: Any) -> None:
    """Of a user that was forgotten meanwhile nothing is stored: the row is gone."""
    Profile.objects.filter(pk=row.pk).update(**values)


def make(facts: Sequence[Memory], settings: ProfileSettings, llm: LLMConfig | None) -> Made:
    """facts: newest first. Raises LLMUnavailable; any other fault of the model leaves the draft."""
    schema = settings.effective_schema
    draft = fill(schema, facts)
    if llm is None:
        return Made(draft, "local", [])
    try:
        return Made(_refine(llm, facts, schema, draft, settings.custom_instructions or ""), "llm", [])
    except LLMUnavailable:
        raise
    except ServiceError as exc:
        return Made(draft, "local", [f"made without the language model: {exc}"])


def _refine(
    llm: LLMConfig, facts: Sequence[Memory], schema: dict[str, Any], draft: dict[str, Any], instructions: str
) -> dict[str, Any]:
    told = [
        {"fact": fact.text, "date": f"{fact.said_at:%Y-%m-%d}", "category": ", ".join(fact.categories)}
        for fact in reversed(facts)
    ]
    prompt = profile_prompt(told, schema=schema, draft=draft, instructions=instructions)
    fault = ""
    for _ in range(2):
        answer = complete(llm, prompt, purpose="profile").text
        try:
            return _valid(parse_json(answer), schema)
        except ValueError as exc:
            fault = str(exc)
        mend = f"The profile schema does not accept that: {fault}. Send the whole JSON object again, corrected."
        prompt = [*prompt, {"role": "assistant", "content": answer}, {"role": "user", "content": mend}]
    raise LLMMalformed(f"{llm.model} for profile: two answers were not what the schema wants; the last: {fault}")


def _valid(answer: Any, schema: dict[str, Any]) -> dict[str, Any]:
    """What the schema names, the rest left out; what is missing is null or []. Raises ValueError."""
    if not isinstance(answer, dict):
        raise ValueError(f"the answer is a {type(answer).__name__}, not an object")
    found: dict[str, Any] = _shaped(answer, schema)
    checked = _nullable(schema)
    fault = jsonschema.exceptions.best_match(jsonschema.Draft202012Validator(checked).iter_errors(found))
    if fault is not None:
        raise ValueError(f"{'.'.join(map(str, fault.absolute_path)) or 'answer'}: {fault.message[:200]}")
    return found


def _shaped(answer: Any, schema: Mapping[str, Any]) -> Any:
    if type_of(schema) != "object" or not isinstance(answer, dict):
        return answer
    return {
        name: _shaped(answer[name], inner) if answer.get(name) is not None else empty(inner)
        for name, inner in schema.get("properties", {}).items()
    }


def empty(schema: Mapping[str, Any]) -> Any:
    """What a property is that nothing is known of."""
    if type_of(schema) == "object" and schema.get("properties"):
        return {name: empty(inner) for name, inner in schema["properties"].items()}
    return [] if type_of(schema) == "array" else None


def _nullable(schema: Any) -> Any:
    """The schema where every value may be null: what is not known cannot be made up to satisfy it."""
    if not isinstance(schema, Mapping):
        return schema
    loose = {name: value for name, value in schema.items() if name not in ("required", "minItems", "minProperties")}
    if "properties" in loose:
        loose["properties"] = {name: _nullable(inner) for name, inner in loose["properties"].items()}
    if loose.get("type") == "array" and "items" in loose:
        loose["items"] = _nullable(loose["items"])
    return {"anyOf": [loose, {"type": "null"}]}


# Without a model


def fill(schema: Mapping[str, Any], facts: Sequence[Memory]) -> dict[str, Any]:
    """The schema's properties from the facts that speak of them; what none speaks of is null or [].

    facts: newest first, which wins where one value is wanted. A fact speaks of a property from THRESHOLD on: the cosine
    of their vectors, more where they share a word, and more again where the statement's attribute does.
    """
    leaves = list(_leaves(schema, ()))
    vectors = _vectors_of(facts)
    found: dict[str, Any] = empty({**schema, "type": "object"})
    if not leaves:
        return found
    scores = _speak_of(facts, vectors, tuple((path[-1], inner.get("description", "")) for path, inner in leaves))
    for column, (path, inner) in enumerate(leaves):
        rows = np.flatnonzero(scores[:, column] >= THRESHOLD).tolist()
        value = _value(inner, [facts[row] for row in rows], scores[rows, column])
        if value is not None:
            _put(found, path, value)
    return found


def _leaves(schema: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    for name, inner in schema.get("properties", {}).items():
        if type_of(inner) == "object" and inner.get("properties"):
            yield from _leaves(inner, (*path, name))
        else:
            yield (*path, name), inner


def _put(target: dict[str, Any], path: Sequence[str], value: Any) -> None:
    for name in path[:-1]:
        target = target[name]
    target[path[-1]] = value


def _vectors_of(facts: Sequence[Memory]) -> Vectors:
    """(N, D); zeros for a fact that has none."""
    ids, vectors = load_vectors([fact.pk for fact in facts])
    place = {int(memory_id): row for row, memory_id in enumerate(ids)}
    found = np.zeros((len(facts), serving_profile().dimensions), np.float32)
    for row, fact in enumerate(facts):
        if fact.pk in place:
            found[row] = vectors[place[fact.pk]]
    return found


def _speak_of(facts: Sequence[Memory], vectors: Vectors, properties: tuple[tuple[str, str], ...]) -> Any:
    """(N, P) how much each fact speaks of each property."""
    scores = vectors @ _embedded(serving_profile().pk, properties).T  # (N, P)
    wanted = [frozenset(terms(f"{_plain(name)} {meaning}")) - GENERIC for name, meaning in properties]
    for row, fact in enumerate(facts):
        attribute = frozenset(terms(" ".join([fact.attribute or "", *map(_plain, fact.categories)])))
        words = frozenset(terms(fact.text)) - frozenset(terms(fact.subject or ""))
        for column, of_property in enumerate(wanted):
            scores[row, column] += WORD_BONUS * bool(words & of_property)
            scores[row, column] += ATTRIBUTE_BONUS * bool(attribute & of_property)
    return scores


@lru_cache(maxsize=64)
def _embedded(profile_id: int, properties: tuple[tuple[str, str], ...]) -> Vectors:
    """(P, D), unit length; profile_id: a change of model makes other vectors."""
    vectors = embed_texts([f"{_plain(name)}: {meaning}" for name, meaning in properties])
    vectors.setflags(write=False)
    return vectors


def _plain(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])|_", " ", name)


def _value(schema: Mapping[str, Any], facts: Sequence[Memory], scores: Any) -> Any:
    """None where no fact has a value of the type."""
    kind = type_of(schema)
    if kind == "array":
        item = schema.get("items") or {"type": "string"}
        best = sorted(range(len(facts)), key=lambda i: -float(scores[i]))[:MAX_LISTED]
        values = [_single(type_of(item), facts[i], text=True) for i in sorted(best)]
        return list(dict.fromkeys(value for value in values if value is not None))
    best = sorted(range(len(facts)), key=lambda i: -round(float(scores[i]), 1))  # near ties go to the newest
    values = [_single(kind, facts[i]) for i in best]
    allowed = schema.get("enum")
    if allowed:
        values = [_of_enum(allowed, facts[i]) for i in best]
    return next((value for value in values if value is not None), None)


def _single(kind: str, fact: Memory, *, text: bool = False) -> Any:
    said = fact.text if text or not fact.value else fact.value
    if kind == "string":
        return said
    if kind in ("number", "integer"):
        number = re.search(r"-?\d+(?:\.\d+)?", said)
        if number is None or (kind == "integer" and "." in number.group()):
            return None
        return int(number.group()) if "." not in number.group() else float(number.group())
    if kind == "boolean":
        return not re.search(r"\b(?:not|no|never|n't|doesn't|isn't|without)\b", fact.text.lower())
    return None


def _of_enum(allowed: Sequence[Any], fact: Memory) -> Any:
    words = set(terms(fact.text))
    return next((one for one in allowed if isinstance(one, str) and set(terms(one)) and set(terms(one)) <= words), None)


# Jobs


def record_trigger(project: Project, user_id: str, *, idempotency_key: str) -> tuple[Event, bool]:
    """The event that makes this user's profile, and whether it was there already. Raises NotFound, InvalidInput where
    profiles are not enabled, Conflict where the key stood for another request."""
    _check_enabled(project)
    if not Scope.objects.filter(project=project, user_id=user_id).exists():
        raise NotFound(f"user {user_id!r} was not found in this project")
    return _record(project, {"operation": "trigger", "entity_ids": [user_id]}, {"entity_id": user_id}, idempotency_key)


def record_sample(project: Project, limit: int, *, idempotency_key: str) -> tuple[Event, bool]:
    """The same for the users with the most facts. Raises TooSoon where a sample was started very recently."""
    _check_enabled(project)
    known = _known(project, {"operation": "sample", "limit": limit}, idempotency_key)
    if known:
        return known, True
    recent = Event.objects.filter(project=project, type=Event.Type.PROFILE, options__operation="sample")
    last = recent.order_by("-id").first()
    if last and timezone.now() - last.created_at < SAMPLE_PAUSE:
        wait_s = (SAMPLE_PAUSE - (timezone.now() - last.created_at)).total_seconds()
        raise TooSoon(f"a sample was started a moment ago: try again in {wait_s:.0f} s", retry_after_s=wait_s)
    rows = Memory.objects.in_project(project).live().filter(kind=Memory.Kind.SEMANTIC, user_id__isnull=False)
    best = rows.values("user_id").annotate(n=Count("id")).order_by("-n", "user_id")[:limit]
    names = [row["user_id"] for row in best]
    return _record(project, {"operation": "sample", "entity_ids": names}, {"limit": limit}, idempotency_key)


def _check_enabled(project: Project) -> None:
    if not read_settings(project).enabled:
        raise InvalidInput("profiles are not enabled in this project: POST /v2/profiles/settings/ {'enabled': true}")


def _request_hash(asked: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode("utf-8", "replace")).hexdigest()


def _known(project: Project, asked: Mapping[str, Any], key: str) -> Event | None:
    row = IdempotencyKey.objects.filter(project=project, key=key).select_related("event").first() if key else None
    if row and row.request_hash != _request_hash(asked):
        raise Conflict(f"Idempotency-Key {key[:80]!r} was used for another request: take a new one")
    return row.event if row else None


def _record(project: Project, options: dict[str, Any], asked: dict[str, Any], key: str) -> tuple[Event, bool]:
    asked = {"operation": options["operation"], **asked}
    known = _known(project, asked, key)
    if known:
        return known, True
    outdated = IdempotencyKey.objects.filter(project=project, created_at__lt=timezone.now() - KEY_LIFE)
    outdated.delete()
    try:
        with transaction.atomic():
            event = Event.objects.create(project=project, type=Event.Type.PROFILE, options=options)
            if key:
                IdempotencyKey.objects.create(project=project, key=key, request_hash=_request_hash(asked), event=event)
    except IntegrityError:  # the same request, at the same moment
        known = _known(project, asked, key)
        if known is None:
            raise
        return known, True
    return event, False


def run_job(event: Event) -> dict[str, Any]:
    """Makes the job's profiles one by one; its event shows how far it is. Raises what may pass, to be tried again."""
    names: list[str] = event.options["entity_ids"]
    counts: dict[str, Any] = {"total": len(names), "succeeded": 0, "failed": 0, "skipped": 0}
    done: dict[str, str] = event.results[0].get("outcomes", {}) if event.results else {}
    for name in names:
        if name not in done:
            done[name] = generate(event.project, name, event=event)
            Event.objects.filter(pk=event.pk, claim=event.claim).update(results=[{**counts, "outcomes": done}])
    for outcome in done.values():
        counts[outcome] += 1
    return {**counts, "outcomes": done}


def find_job(project: Project, public_id: Any) -> Event:
    found = Event.objects.filter(project=project, type=Event.Type.PROFILE, public_id=public_id).first()
    if found is None:
        raise NotFound(f"profile job {public_id} was not found in this project")
    return found


def job_counts(event: Event) -> dict[str, int]:
    outcomes = list((event.results[0] if event.results else {}).get("outcomes", {}).values())
    counts = {name: outcomes.count(name) for name in ("succeeded", "failed", "skipped")}
    total = len(event.options["entity_ids"])
    if event.status == EventStatus.FAILED:
        counts["failed"] += total - len(outcomes)
    return {"total": total, "completed": sum(counts.values()), **counts}


# By itself


def due(*, limit: int) -> list[tuple[Project, str]]:
    """Users of projects with profiles whose facts are enough for a first one, or have changed enough for another.

    A fact has changed that came, went or got another text since the profile was made. One statement for all projects.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT m.project_id, m.user_id FROM memory_service_memory m "
            "JOIN memory_service_lifecyclesettings l ON l.project_id = m.project_id AND l.profiles_enabled "
            "LEFT JOIN memory_service_profile p ON p.project_id = m.project_id AND p.user_id = m.user_id "
            "WHERE m.kind = 'semantic' AND m.user_id IS NOT NULL AND coalesce(p.retry_at <= now(), true) "
            "GROUP BY m.project_id, m.user_id, p.generated_at HAVING count(*) FILTER (WHERE m.state = 'live') >= %s "
            "AND (p.generated_at IS NULL OR count(*) FILTER (WHERE greatest(m.created_at, m.expired_at, m.updated_at) "
            "> p.generated_at) >= greatest(%s, %s * count(*) FILTER (WHERE m.state = 'live'))) "
            "ORDER BY p.generated_at NULLS FIRST, m.project_id, m.user_id LIMIT %s",
            [MIN_FACTS, MIN_CHANGES, MIN_CHANGED_SHARE, limit],
        )
        found = cursor.fetchall()
    projects = Project.objects.in_bulk({project_id for project_id, _ in found})
    return [(projects[project_id], user_id) for project_id, user_id in found if project_id in projects]


def forget_user(project_id: int, user_id: str) -> None:
    """The profile, and the jobs that name the user, whoever else they name."""
    Profile.objects.filter(project=project_id, user_id=user_id).delete()
    jobs = Event.objects.filter(project=project_id, type=Event.Type.PROFILE)
    jobs.filter(options__entity_ids__contains=[user_id]).delete()


def forget_scope(scope_id: int) -> None:
    """The profile of the scope's user may hold what is being forgotten of it; it is made again from what is left."""
    scope = Scope.objects.filter(pk=scope_id, user_id__isnull=False).first()
    if scope:
        Profile.objects.filter(project=scope.project_id, user_id=scope.user_id).delete()
