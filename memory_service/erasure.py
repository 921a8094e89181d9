"""Destroys rows with everything that hangs on them, by the foreign keys that the models declare.

Nothing here names a table below the roots: a table that gains a foreign key to a scope, session, message, memory or
event is destroyed with it. Where a key is SET_NULL, the row stays and loses the link. What has text and hangs on none
of these is in KEPT, with the reason; `uncovered` names what is in neither, and a test fails by it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from django.apps import apps
from django.contrib.postgres.fields import ArrayField
from django.db import models, transaction
from pgvector.django import VectorField

from .models import Project, Scope

BATCH = 500  # rows of a root in one transaction
ENTITY_COLUMNS = ("user_id", "agent_id", "app_id", "run_id")

# Tables with text that a user's deletion leaves alone.
KEPT = {
    "Organisation": "its own name",
    "Project": "the project's own settings",
    "ApiKey": "the names of keys; those bound to the entity are destroyed: forgetting.forget_records",
    "Membership": "who may look",
    "EmbeddingProfile": "names of models",
    "OrganisationMembership": "who may manage the organisation",
    "ProjectDeletion": "the receipt of a deleted project: counts",
    "Budget": "the project's limits and prices, by the names of models",
    "LifecycleSettings": "the project's choices",
    "Webhook": "where the project's changes are told",
    "WebhookDelivery": "ids, states and what receivers answered; no text of a memory",
    "ContextLedger": "ids and hashes; found by its scope_ids, and destroyed with them: forgetting.forget_in_scope",
    "MemoryExport": "found by its scope_ids, and destroyed with them: forgetting.forget_in_scope",
    "EvaluationCorpus": "a hash of what was ingested; its scratch project has scopes of its own",
    "EvaluationRun": "found by its scope_ids and entities: forgetting.forget_in_scope, forget_records",
    "EvaluationScore": "goes with its run",
    "Answer": "found by its scope_ids and names, and destroyed with them: forgetting.forget_in_scope",
    "DocumentContent": "destroyed with the last document that has it: document_storage.destroy_orphans",
    "DocumentBlob": "goes with its content",
    "DocumentPage": "goes with its content",
    "Chunking": "goes with its content",
    "DocumentChunk": "goes with its content",
    "ChunkTerm": "goes with its content",
    "Passage": "goes with the last content that says it",
    "PassageEmbedding": "goes with its passage",
    "EntityRecord": "named by type and name: forgetting.forget_records",
    "ImportJob": "the names that lines are given which name nobody; its lines are emptied",
    "ImportLine": "emptied by forgetting.forget_records",
    "CompletionUsage": "the ledger: model, purpose and numbers; it loses its link to the event",
    "ForgettingReceipt": "the receipt: counts, and the name as FORGETTING_RECEIPTS says",
}

Save = Callable[[Mapping[str, int]], None]


def _save_nothing(counts: Mapping[str, int]) -> None:
    """For callers that only want the numbers at the end."""


@dataclass
class Erasure:
    """counts: rows by kind, so far. save is called in the transaction of each batch: what is counted is gone."""

    counts: Counter[str] = field(default_factory=Counter)
    save: Save = _save_nothing

    def destroy(self, rows: models.QuerySet[Any]) -> None:
        """Rows of one model and all that hangs on them, a batch in a transaction, until none is left."""
        while self.destroy_batch(rows):
            pass

    @transaction.atomic
    def destroy_batch(self, rows: models.QuerySet[Any]) -> int:
        pks = _first_pks(rows)
        if pks:
            self._destroy(rows.model, pks)
            self.save(self.counts)
        return len(pks)

    def destroy_scope(self, scope_id: int) -> None:
        """What hangs on the scope first, in batches; then, with its row locked against new messages, what is left."""
        for model, path in _children_first():
            self.destroy(model._base_manager.filter(**{path: scope_id}))
        with transaction.atomic():
            locked = list(Scope.objects.select_for_update().filter(pk=scope_id).values_list("pk", flat=True))
            if locked:
                self._destroy(Scope, locked)
                self.save(self.counts)

    def destroy_named(self, project: Project, kind: str, name: str) -> None:
        """Rows that name the entity in a column of their own, under no scope: a column that may be null loses it."""
        for model in _naming(f"{kind}_id"):
            rows = model._base_manager.filter(project=project, **{f"{kind}_id": name})
            if model._meta.get_field(f"{kind}_id").null:
                with transaction.atomic():
                    self._count(f"{_name(model)}_unlinked", rows.update(**{f"{kind}_id": None}))
                    self.save(self.counts)
            else:
                self.destroy(rows)

    def _destroy(self, model: type[models.Model], pks: list[Any]) -> None:
        for relation in _referencing(model):
            rows = _rows(relation, pks)
            if relation.on_delete is models.SET_NULL:
                unlinked = rows.update(**{relation.field.name: None})
                self._count(f"{_name(relation.related_model)}_unlinked", unlinked)
            elif _is_leaf(relation.related_model):
                self._count(_name(relation.related_model), rows._raw_delete(rows.db))
            else:
                while inner := _first_pks(rows):
                    self._destroy(relation.related_model, inner)
        doomed = model._base_manager.filter(pk__in=pks)
        self._count(_name(model), doomed._raw_delete(doomed.db))

    def _count(self, name: str, number: int) -> None:
        if number:
            self.counts[name] += number


def _first_pks(rows: models.QuerySet[Any]) -> list[Any]:
    return list(rows.order_by("pk").values_list("pk", flat=True)[:BATCH])


def _rows(relation: Any, pks: list[Any]) -> Any:
    return relation.related_model._base_manager.filter(**{f"{relation.field.name}__in": pks})


@cache
def _referencing(model: type[models.Model]) -> tuple[Any, ...]:
    """The foreign keys to a model, its many-to-many tables' too. One that neither the database holds nor Django
    follows (DO_NOTHING without a constraint) is looked after by whoever made it so."""
    keys = model._meta.get_fields(include_hidden=True)
    relations = [key for key in keys if key.auto_created and not key.concrete and (key.one_to_many or key.one_to_one)]
    return tuple(key for key in relations if not _is_let_be(key))


def _is_let_be(relation: Any) -> bool:
    return relation.on_delete is models.DO_NOTHING and not relation.field.db_constraint


@cache
def _is_leaf(model: type[models.Model]) -> bool:
    return not _referencing(model)


@cache
def _children_first() -> tuple[tuple[type[models.Model], str], ...]:
    """Models under a scope that have something under them, each after what is under it, with the way up to the scope: a
    row that is destroyed early takes little with it."""
    paths: dict[type[models.Model], str] = {}
    waiting = [(Scope, "")]
    while waiting:  # breadth first: the shortest way
        model, path = waiting.pop(0)
        for relation in _cascading(model):
            if relation.related_model not in paths and relation.related_model is not Scope:
                paths[relation.related_model] = f"{relation.field.name}__{path}".rstrip("_")
                waiting.append((relation.related_model, paths[relation.related_model]))
    order: list[type[models.Model]] = []

    def visit(model: type[models.Model], above: tuple[type[models.Model], ...] = ()) -> None:
        for relation in _cascading(model):
            if relation.related_model not in (*order, *above, model):
                visit(relation.related_model, (*above, model))
        order.append(model)

    visit(Scope)
    return tuple((model, paths[model]) for model in order if model in paths and not _is_leaf(model))


def _cascading(model: type[models.Model]) -> list[Any]:
    return [relation for relation in _referencing(model) if relation.on_delete is not models.SET_NULL]


@cache
def _naming(column: str) -> tuple[type[models.Model], ...]:
    """Models of a project with this column that no scope's end reaches."""
    reached = reachable()
    return tuple(
        model
        for model in _models()
        if model not in reached and {"project", column} <= {column.name for column in model._meta.concrete_fields}
    )


@cache
def reachable() -> frozenset[type[models.Model]]:
    """The models whose rows go when a scope goes."""
    found: set[type[models.Model]] = set()
    waiting: list[type[models.Model]] = [Scope]
    while waiting:
        model = waiting.pop()
        if model not in found:
            found.add(model)
            waiting += [relation.related_model for relation in _cascading(model)]
    return frozenset(found)


def uncovered() -> list[str]:
    """Models that can hold text and that no deletion reaches: each needs a foreign key, a rule, or a line in KEPT."""
    named = {model for column in ENTITY_COLUMNS for model in _naming(column)}
    return sorted(
        model.__name__
        for model in _models()
        if model.__name__ not in KEPT and model not in reachable() | named and any(_text_fields(model))
    )


def _models() -> Iterator[type[models.Model]]:
    yield from apps.get_app_config("memory_service").get_models(include_auto_created=True)


def _text_fields(model: type[models.Model]) -> Iterator[models.Field[Any, Any]]:
    kinds = (models.CharField, models.TextField, models.JSONField, models.BinaryField, ArrayField, VectorField)
    yield from (column for column in model._meta.concrete_fields if isinstance(column, kinds))


def _name(model: type[models.Model]) -> str:
    """MemoryRevision -> memory_revisions, Entity -> entities."""
    snake = "".join(f"_{char.lower()}" if char.isupper() else char for char in model.__name__).lstrip("_")
    return f"{snake[:-1]}ies" if snake.endswith("y") else f"{snake}s"
