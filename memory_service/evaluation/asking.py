"""Where a set is ingested and asked: a scratch project in this process, a project's own memories, or over HTTP."""

from __future__ import annotations

import hashlib
import json
import math
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Protocol, get_type_hints

import httpx
from django.conf import settings
from django.db import transaction
from django.utils import timezone
from pydantic import TypeAdapter, ValidationError

from memory_service import answering, ingest, retrieval
from memory_service.answering import AnswerRequest
from memory_service.embedding import embed_query, serving_profile, warm_up
from memory_service.errors import Conflict, InvalidInput, LLMUnavailable, ServiceError
from memory_service.expansion import expand_request
from memory_service.filters import Filter, parse
from memory_service.forgetting import forget_scope
from memory_service.ingest import AddRequest, EntityIds, NewMessage
from memory_service.llm import LLMConfig
from memory_service.locks import Kind, advisory_lock
from memory_service.models import CompletionUsage, EvaluationCorpus, Event, EventStatus, Project, Scope
from memory_service.moments import moment_of
from memory_service.project_llm import llm_config
from memory_service.retrieval import Hit, SearchRequest
from memory_service.tokens import tokenizer_for

from .datasets import Conversation, Dataset, Question, Session, evidence_key
from .metrics import MAX_CITED, Ranked, estimate_tokens

TOP_K = 120  # enough to fill the largest token budget with short turns
MAX_TOP_K = 1000
ENCODING = "cl100k_base"  # one for all runs, so that they can be compared
MESSAGES_AN_ADD = 500
EVENT_TIMEOUT_S = 1800
POLL_S = 0.1
HTTP_TIMEOUT_S = 120
RESERVED = ("query", "filter", "moment", "without")  # of a SearchRequest: not options

# What decides about what is stored. A change here asks for a new ingest; a change in retrieval does not.
INGESTING = (
    *("extraction/**/*.py", "knowledge/**/*.py", "ingest.py", "consolidation.py", "policies.py", "chronicle.py"),
    *(
        "storage.py",
        "traits.py",
        "lexical.py",
        "timeexpr.py",
        "timeline.py",
        "categories.py",
        "embedding.py",
        "procedural.py",
    ),
)

OnMessages = Callable[[int], None]  # how many messages more are ingested
Enqueue = Callable[[Event], None]


@dataclass(frozen=True, slots=True)
class Found:
    """What a question found. num_over_cited: hits that cite too many messages."""

    ranked: list[Ranked]
    num_over_cited: int
    latency_ms: float


class Asked(Protocol):
    """Something that can be asked. without: a stage of retrieval to leave out."""

    def ask(self, conversation: Conversation, question: Question, *, without: str = "") -> Found: ...

    def answer(self, conversation: Conversation, question: Question) -> str:
        """What a user is answered, by the same search. Raises LLMError."""


# Options of a search


def read_options(given: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of SearchRequest as they are written in a request or on a command line -> checked JSON values.

    Raises InvalidInput for unknown names and for values of the wrong type.
    """
    known = option_types()
    read = {}
    for name, value in given.items():
        if name not in known:
            raise InvalidInput(f"{name!r} is no option of a search; there are {', '.join(sorted(known))}")
        try:
            checked = TypeAdapter(known[name]).validate_python(value)
            read[name] = TypeAdapter(known[name]).dump_python(checked, mode="json")
        except ValidationError as exc:
            raise InvalidInput(f"{name}={value!r} is refused: {exc.errors()[0]['msg']}") from exc
    top_k = read.get("top_k", TOP_K)
    if not 1 <= top_k <= MAX_TOP_K:
        raise InvalidInput(f"top_k={top_k} is out of range: 1 to {MAX_TOP_K} is accepted")
    threshold = read.get("threshold")
    if threshold is not None and not 0 <= threshold <= 1:
        raise InvalidInput(f"threshold={threshold} is out of range: 0 to 1 is accepted")
    return read


def option_types() -> dict[str, Any]:
    hints = get_type_hints(SearchRequest)
    return {field.name: hints[field.name] for field in fields(SearchRequest) if field.name not in RESERVED}


def to_search_request(question: Question, node: Filter, options: Mapping[str, Any], without: str) -> SearchRequest:
    """As the API builds it from the same words."""
    types = option_types()
    values = {name: TypeAdapter(types[name]).validate_python(value) for name, value in options.items()}
    if "reference_date" in types and question.asked_at is not None:
        values.setdefault("reference_date", question.asked_at)
    moment = moment_of(question.text, reference_date=values.get("reference_date") or question.asked_at)
    request = SearchRequest(question.text, node, top_k=values.pop("top_k", TOP_K), moment=moment, **values)
    return replace(request, without=frozenset({without})) if without else request


def stages() -> tuple[str, ...]:
    """The stages of retrieval that can be left out."""
    return tuple(getattr(retrieval, "STAGES", ()))


# In this process


@dataclass
class InProcess:
    """Asks a project by retrieval.search. own: the questions' own filters say where, not their conversation. payer:
    whose account language models are on, where that is not the project's."""

    project: Project
    options: Mapping[str, Any]
    own: bool = False
    payer: Project | None = None
    _tokens: dict[str, int | None] = field(default_factory=dict)

    def ask(self, conversation: Conversation, question: Question, *, without: str = "") -> Found:
        """The query is embedded anew each time, as a new question would be."""
        request = to_search_request(question, self.filter_of(conversation, question), self.options, without)
        embed_query.cache_clear()  # type: ignore[attr-defined]
        start = time.perf_counter()
        hits = retrieval.search(self.project, expand_request(self.project, request, llm_config(), payer=self.payer))
        latency_ms = 1000 * (time.perf_counter() - start)
        ranked = [self._rank(hit) for hit in hits]
        over = sum(len({source.name for source in hit.sources}) > MAX_CITED for hit in hits)
        return Found(ranked, over, latency_ms)

    def answer(self, conversation: Conversation, question: Question) -> str:
        """By answering.py, from at most as many hits as POST /v1/answers/ takes, with its budget. Nothing is stored."""
        llm = required_llm("an answer")
        node = self.filter_of(conversation, question)
        search = to_search_request(question, node, self.options, "")
        search = replace(search, top_k=min(search.top_k, answering.MAX_TOP_K))
        search = expand_request(self.project, search, llm, payer=self.payer)
        request = AnswerRequest(search, reference_date=question.asked_at, store=False)
        payer = self.payer or self.project
        return answering.try_answer(self.project, request, llm, payer=payer, purpose="evaluation_answer").answer.text

    def filter_of(self, conversation: Conversation, question: Question) -> Filter:
        if question.filters is not None:
            return parse(dict(question.filters))
        nobody = {} if self.own else {"user_id": conversation.id}
        return parse(dict(conversation.entities) or nobody)

    def _rank(self, hit: Hit) -> Ranked:
        text = text_of(hit)
        if text not in self._tokens:
            self._tokens[text] = count_tokens(text)
        ids, sessions = cited_by(hit)
        return Ranked(ids, sessions, estimate_tokens(text), self._tokens[text])


def required_llm(what: str) -> LLMConfig:
    """Raises InvalidInput where none is configured. what: it is needed for."""
    config = llm_config()
    if config is None:
        raise InvalidInput(f"{what} needs a language model, and none is configured: set LLM_MODEL")
    return config


def tokenizer_name() -> str | None:
    """None where only an estimate is at hand."""
    found = tokenizer_for(ENCODING)
    return found.name if found.exact else None


def count_tokens(text: str) -> int | None:
    found = tokenizer_for(ENCODING)
    return max(1, found.count(text)) if found.exact else None


def text_of(hit: Hit) -> str:
    if hit.memory is not None:
        return hit.memory.text
    assert hit.message is not None  # a hit is one or the other
    return f"{hit.message.name}: {hit.message.content}" if hit.message.name else hit.message.content


def cited_by(hit: Hit) -> tuple[frozenset[str], frozenset[str]]:
    """Messages, each by its id and by its run and id; the memory's own id; and the runs."""
    named = [(source.name, source.run_id) for source in hit.sources]
    if hit.message is not None:
        named = [(hit.message.client_id or str(hit.message.public_id), hit.message.session.run_id)]
    own = frozenset({str(hit.memory.public_id)}) if hit.memory is not None else frozenset[str]()
    if len({name for name, _ in named}) > MAX_CITED:
        return own, frozenset()
    keys = frozenset(evidence_key(name, run) for name, run in named) | frozenset(name for name, _ in named)
    return own | keys, frozenset(run for _, run in named if run)


def entity_ids(conversation: Conversation, run_id: str) -> EntityIds:
    named = dict(conversation.entities) or {"user_id": conversation.id}
    return EntityIds(**named, run_id=run_id or None)


def to_add_requests(conversation: Conversation, sessions: Sequence[Session]) -> Iterator[AddRequest]:
    for session in sessions:
        default = session.said_at or timezone.now()
        messages = [
            NewMessage(turn.role, turn.text, turn.said_at or default, client_id=turn.id, name=turn.name)
            for turn in session.turns
        ]
        for start in range(0, len(messages), MESSAGES_AN_ADD):
            part = messages[start : start + MESSAGES_AN_ADD]
            yield AddRequest(part, entity_ids(conversation, session.id))


def in_order(conversation: Conversation, seed: int) -> list[Session]:
    """The sessions as the set has them; for any seed but 0 in another order, always the same for a seed."""
    sessions = list(conversation.sessions)
    if seed:
        random.Random(f"{seed}/{conversation.id}").shuffle(sessions)
    return sessions


def ingest_conversation(
    project: Project,
    conversation: Conversation,
    *,
    seed: int = 0,
    enqueue: Enqueue | None = None,
    deadline: float = math.inf,
    on_messages: OnMessages = lambda _: None,
) -> bool:
    """Records every session as an add, and has them processed: by a worker where `enqueue` is given, else here.

    True when all of it is searchable, False where the deadline (of time.monotonic) came first. Can run twice: what is
    there already is not added again. Raises Conflict where an event fails.
    """
    scope_ids = set()
    for request in to_add_requests(conversation, in_order(conversation, seed)):
        event = ingest.record_add(project, request)
        scope_ids.add(event.scope_id)
        if enqueue is not None:
            enqueue(event)
    for scope_id in scope_ids if enqueue is None else ():
        _drain(scope_id, deadline)
    if not _wait(project, enqueue, deadline):
        return False
    failed = Event.objects.filter(project=project, status=EventStatus.FAILED).first()
    if failed is not None:
        raise Conflict(f"{conversation.id}: an add failed, so nothing can be measured: {failed.error}")
    on_messages(conversation.num_messages)
    return True


def _drain(scope_id: Any, deadline: float) -> None:
    end = min(deadline, time.monotonic() + EVENT_TIMEOUT_S)
    while (retry_at := ingest.drain_scope(scope_id)) is not None and time.monotonic() < end:
        time.sleep(max(0.0, (retry_at - timezone.now()).total_seconds()))


def _wait(project: Project, enqueue: Enqueue | None, deadline: float) -> bool:
    """For what a worker, or one that took the scope before us, is still at. False at the deadline."""
    end = time.monotonic() + EVENT_TIMEOUT_S
    while (event := Event.objects.unfinished().filter(project=project).first()) is not None:
        if time.monotonic() > end:
            raise LLMUnavailable(f"events were not processed in {EVENT_TIMEOUT_S} s: is a worker running?")
        if time.monotonic() > deadline:
            return False
        if enqueue is None:
            _drain(event.scope_id, deadline)
        time.sleep(POLL_S)
    return True


# Scratch projects


def corpus_key(dataset: Dataset, *, policy: str, seed: int) -> str:
    """The same for the same messages, in the same order, under the same models and code."""
    digest = hashlib.sha256()
    for conversation in dataset.conversations:
        dated = any(turn.said_at or session.said_at for session in conversation.sessions for turn in session.turns)
        for request in to_add_requests(conversation, in_order(conversation, seed)):
            ids = request.ids
            digest.update(json.dumps([ids.user_id, ids.agent_id, ids.app_id, ids.run_id]).encode("utf-8", "replace"))
            for m in request.messages:
                when = m.said_at.timestamp() if dated else None
                said = [m.role, m.name, m.client_id, m.content, when]
                digest.update(json.dumps(said).encode("utf-8", "replace"))
    profile = serving_profile()
    model = settings.ENV.llm_model if policy != "local" else ""
    digest.update(json.dumps([profile.model, profile.dimensions, policy, model, seed, code_hash()]).encode())
    return digest.hexdigest()


def code_hash() -> str:
    """Of the modules that take part in ingesting."""
    root = Path(ingest.__file__).parent
    digest = hashlib.sha256()
    for path in sorted({path for pattern in INGESTING for path in root.glob(pattern)}):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def find_corpus(owner: Project, key: str, *, policy: str, keep: bool) -> EvaluationCorpus:
    """The kept one with this key, or a new one."""
    kept = EvaluationCorpus.objects.filter(owner=owner, key=key, kept=True).select_related("project").first()
    if kept is not None and keep:
        return kept
    with transaction.atomic():
        number = EvaluationCorpus.objects.count()
        name = f"evaluation {key[:12]} {timezone.now():%Y%m%d%H%M%S%f} {number}"
        project = Project.objects.create(
            organisation=owner.organisation,
            name=name,
            extraction_policy=policy,
            description="scratch project of an evaluation; `manage.py evaluate clean` removes it",
        )
        return EvaluationCorpus.objects.create(owner=owner, project=project, key=key, kept=keep)


def fill_corpus(
    corpus: EvaluationCorpus,
    dataset: Dataset,
    *,
    seed: int,
    enqueue: Enqueue | None,
    deadline: float = math.inf,
    on_messages: OnMessages = lambda _: None,
) -> bool:
    """Ingests what is not there yet; nothing where all is. False where the deadline came first."""
    if corpus.ingested_at is not None:
        return True
    start = time.monotonic()
    how: dict[str, Any] = {"seed": seed, "enqueue": enqueue, "deadline": deadline, "on_messages": on_messages}
    whole = all(ingest_conversation(corpus.project, one, **how) for one in dataset.conversations)
    corpus.ingest_s = corpus.ingest_s + time.monotonic() - start
    if whole:
        corpus.num_messages, corpus.ingested_at = dataset.num_messages, timezone.now()
    corpus.save(update_fields=["num_messages", "ingest_s", "ingested_at"])
    return whole


def drop_corpus(corpus: EvaluationCorpus) -> None:
    """Removes the scratch project with all that is in it; what its language models cost stays, as the owner's.

    Raises Conflict where a worker has one of its scopes in hand.
    """
    project = corpus.project
    CompletionUsage.objects.filter(project=project).update(project=corpus.owner, event=None, scope=None)
    for scope_id in Scope.objects.filter(project=project).values_list("pk", flat=True):
        with advisory_lock(Kind.SCOPE, scope_id) as held:
            if not held:
                raise Conflict(f"{project.name}: a worker is busy with it; `manage.py evaluate clean` removes it later")
            forget_scope(scope_id)
    with transaction.atomic():
        Event.objects.filter(project=project).delete()
        project.delete()


# Over HTTP


class OverHTTP:
    """A service somewhere else, through its API. prefix keeps its users apart from those that are there."""

    def __init__(self, host: str, api_key: str, options: Mapping[str, Any], *, prefix: str) -> None:
        self.options, self.prefix = options, prefix
        headers = {"Authorization": f"Token {api_key}"}
        self._api = httpx.Client(base_url=host, headers=headers, timeout=HTTP_TIMEOUT_S)

    def user_of(self, conversation: Conversation) -> str:
        return f"{self.prefix}/{conversation.id}"[:200]

    def ingest(self, conversation: Conversation, *, seed: int = 0, on_messages: OnMessages = lambda _: None) -> None:
        """Can run twice. Raises ServiceError for what the service refuses, Conflict where an event fails."""
        events = []
        for request in to_add_requests(conversation, in_order(conversation, seed)):
            said = [
                {
                    "id": m.client_id,
                    "role": m.role,
                    "content": m.content,
                    "created_at": m.said_at.timestamp(),
                    **({"name": m.name} if m.name else {}),
                }
                for m in request.messages
            ]
            run_id = f"{self.prefix}/{request.ids.run_id}"[:250]
            body = {"messages": said, "user_id": self.user_of(conversation), "run_id": run_id}
            events.append((self.call("POST", "/v3/memories/add/", body)["event_id"], len(said)))
        for event_id, num_messages in events:
            self._follow(event_id)
            on_messages(num_messages)

    def _follow(self, event_id: str) -> None:
        end = time.monotonic() + EVENT_TIMEOUT_S
        while time.monotonic() < end:
            event = self.call("GET", f"/v1/event/{event_id}/")
            if event["status"] == EventStatus.SUCCEEDED:
                return
            if event["status"] == EventStatus.FAILED:
                raise Conflict(f"event {event_id} failed, so nothing can be measured: {event.get('error')}")
            time.sleep(POLL_S)
        raise LLMUnavailable(f"event {event_id} was not processed in {EVENT_TIMEOUT_S} s: is a worker running?")

    def ask(self, conversation: Conversation, question: Question, *, without: str = "") -> Found:
        if without:
            raise InvalidInput("stages can only be left out in process: run --ablate without --host")
        body = self._body(conversation, question)
        start = time.perf_counter()
        hits = self.call("POST", "/v3/memories/search/", body)["results"]
        latency_ms = 1000 * (time.perf_counter() - start)
        over = sum(len({s["message_id"] for s in hit.get("sources") or []}) > MAX_CITED for hit in hits)
        return Found([self._rank(hit) for hit in hits], over, latency_ms)

    def answer(self, conversation: Conversation, question: Question) -> str:
        """As the service answers its users: without a language model there, in words that were said."""
        body = self._body(conversation, question)
        body |= {"top_k": min(body["top_k"], answering.MAX_TOP_K), "store": False}
        return str(self.call("POST", "/v1/answers/", body)["answer"])

    def _body(self, conversation: Conversation, question: Question) -> dict[str, Any]:
        body: dict[str, Any] = {
            "query": question.text,
            "filters": {"user_id": self.user_of(conversation)},
            "top_k": TOP_K,
        }
        if question.asked_at is not None:
            body["reference_date"] = question.asked_at.isoformat()
        return {**body, **self.options}

    def _rank(self, hit: Mapping[str, Any]) -> Ranked:
        sources = hit.get("sources") or []
        ids = frozenset(str(source["message_id"]) for source in sources)
        runs = frozenset(str(s["run_id"]).removeprefix(f"{self.prefix}/") for s in sources if s.get("run_id"))
        few = len(ids) <= MAX_CITED
        text = str(hit["memory"])
        return Ranked(
            ids if few else frozenset(), runs if few else frozenset(), estimate_tokens(text), count_tokens(text)
        )

    def drop(self, conversation: Conversation) -> None:
        self.call("DELETE", f"/v2/entities/user/{self.user_of(conversation)}/")

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Raises ServiceError with what the service said."""
        try:
            response = self._api.request(method, path, json=body)
        except httpx.HTTPError as exc:
            raise ServiceError(f"{self._api.base_url} does not answer: {exc or type(exc).__name__}") from exc
        if response.is_error:
            raise ServiceError(f"{method} {path} was refused with {response.status_code}: {response.text[:500]}")
        return response.json()


def prepare_timing() -> None:
    """The model is loaded and settled before the first question is timed."""
    warm_up()
