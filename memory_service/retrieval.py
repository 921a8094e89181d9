"""A question -> ranked memories, as a chain of stages.

    documents   what the filter lets through, chosen in the database before anything is scored
    question    whom it names, what kind of answer it asks for, which time it speaks of (questions.py, timeexpr.py)
    signals     words (BM25) and meaning (cosine: exact up to EXACT_LIMIT documents, through HNSW above), each of the
                text, of the turns around it and of its session; who said it; the kind of answer (signals.py)
    feedback    where it is asked for: the words of the best texts of a first pass (pseudo-relevance feedback)
    graph       a walk over the knowledge graph from what the question names
    fuse        one score from 0 to 1 (fusion.py)
    life        feedback and decay, where there are any (ranking.py)
    dedupe      of a turn and a fact drawn from it the worse goes behind those that bring something new
    pending     messages that are accepted but not yet processed, found by their words
    documents   where they are asked for: chunks of documents, ranked by the same signals (document_search.py)
    refine      rerank, diversity, selection, focus, where they are asked for (refining.py)

Every signal is on an absolute scale (a cosine; the share of the best BM25 that a text of mean length reaches), so that
`threshold` means the same for every question.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

import numpy as np
from django.conf import settings
from django.core.exceptions import EmptyResultSet
from django.db import connection, transaction
from django.db.models import Q
from django.utils import timezone
from numpy.typing import NDArray

from . import caches, fusion, lexical, questions, ranking, refining, signals, traits
from .document_search import ChunkQuery, FoundChunk, find_chunks
from .embedding import Vectors, embed_query, serving_profile, to_literal
from .expansion import Expand, expand_request, fuse_rankings
from .filters import Filter, scope_condition, to_message_q, to_q
from .focus import Sentence
from .fusion import Fusion
from .knowledge import walking
from .models import Event, Memory, MemorySource, Message, Posting, Project, Scope
from .models.change import versions_of
from .models.memory import POSITIONS_PER_MESSAGE
from .moments import NOW, Moment, holding, texts_known_at
from .project_llm import llm_of
from .refining import CountTokens, Refinement, Trace, num_tokens, refine
from .search_cache import MAX_SCOPES, Documents, Entry, Ids, SearchCache, fill_vectors
from .timeexpr import find_time_expressions
from .windows import Windows

EXACT_LIMIT = 20_000  # documents: below it a full scan takes no longer than the index and misses nothing
FEW_DOCUMENTS = 2_000  # below it their vectors are fetched by id, above it by scope
NUM_APPROXIMATE = 400  # candidates taken from each of HNSW and BM25 above EXACT_LIMIT
HNSW_EF_SEARCH = 400
MAX_GAP_TURNS = 3  # small talk between two turns makes no memory, and they are neighbours all the same
MAX_SCAN_TUPLES = 200_000  # of the index, before a selective filter gives up
MAX_PENDING = 500  # unprocessed messages looked at, newest first

_beside = ThreadPoolExecutor(4, thread_name_prefix="embed-query")

# What can be left out, and the signals that are gone then.
STAGES: dict[str, frozenset[str]] = {
    "words": frozenset({"bm25", "neighbour_bm25", "around_bm25", "before_bm25", "session_bm25", "coverage"}),
    "meaning": frozenset({"semantic", "neighbour_semantic", "around_semantic", "session_semantic"}),
    "neighbours": frozenset(
        {"neighbour_bm25", "around_bm25", "before_bm25", "coverage", "neighbour_semantic", "around_semantic"}
    ),
    "session": frozenset({"session_bm25", "session_semantic"}),
    "speaker": frozenset({"speaker"}),
    "answer_kind": frozenset({"answer_kind"}),
    "length": frozenset({"length"}),
    "pseudo_feedback": frozenset({"pseudo_feedback"}),
    "graph": frozenset({"graph"}),
    "time": frozenset({"time"}),
    "dedupe": frozenset(),
}

INCLUDES = ("memories", "documents")

Scores = NDArray[np.float64]

# Three numbers for six: the database packs ten thousand rows in 4 ms so, and in 6 ms one by one.
TERMS_BITS, TEXT_VERSION_BITS, POSITION_BITS = 16, 11, 36
DOCUMENT = np.dtype([("id_version_terms", ">i8"), ("session_position", ">i8"), ("traits", ">i8")])
POSTING = np.dtype([("id", ">i8"), ("tf", ">i2")])
SIMILARITY = np.dtype([("id", ">i8"), ("value", ">f4")])


@dataclass(frozen=True, slots=True)
class SearchRequest:
    query: str
    filter: Filter
    top_k: int = 10
    threshold: float | None = None
    show_expired: bool = False
    keyword_search: bool = True  # false: by meaning alone
    moment: Moment = NOW
    fusion: Fusion = "learned"
    expand: Expand = "none"  # "llm": by the project's model, unless `also` has other wordings already
    walk: bool = True  # over the graph, from what the question names
    reference_date: datetime | None = None  # the day on which "last year" is said; None: today
    without: frozenset[str] = frozenset()  # names of STAGES to leave out: what each is worth
    also: tuple[str, ...] = ()  # other wordings of the query (expansion.py), searched for beside it
    refine: Refinement = field(default_factory=Refinement)
    trace: Trace | None = None  # is told what expansion and refining did
    include: tuple[str, ...] = ("memories",)  # of INCLUDES: what is searched


@dataclass(frozen=True, slots=True)
class Source:
    """A message that a memory rests on. name: the caller's id for it, or ours. kind: the memory's."""

    memory_id: int
    message_id: int
    name: str
    session: UUID
    run_id: str | None
    said_at: datetime
    kind: str = ""


@dataclass(slots=True)
class Hit:
    """A memory, a message that is not processed yet, or a chunk of a document, with its score and the parts of it.

    breakdown: each signal, as it was. contributions: what each added to the score's logit, where it was learned.
    """

    score: float
    breakdown: dict[str, float]
    contributions: dict[str, float] = field(default_factory=dict)
    memory: Memory | None = None
    message: Message | None = None
    sources: list[Source] = field(default_factory=list)
    sentences: list[Sentence] = field(default_factory=list)  # in focus mode, those that were kept
    chunk: FoundChunk | None = None

    @property
    def key(self) -> tuple[str, int]:
        """What it is, among hits."""
        row = self.memory or self.message or self.chunk
        assert row is not None  # a hit is one of them
        return type(row).__name__, row.pk

    @property
    def similarity(self) -> float:
        """The mean of the basic signals, 0 to 1: how near it is to the question, whatever else is near."""
        return float(np.mean([self.breakdown.get(name, 0.0) for name in signals.BASIC]))


def search(project: Project, request: SearchRequest, *, count_tokens: CountTokens = num_tokens) -> list[Hit]:
    """Hits, best first. count_tokens: what a text costs of request.refine.max_tokens."""
    request = expand_request(project, request, llm_of(project))
    wide = replace(request, top_k=refining.num_candidates(request.refine, request.top_k))
    hits = find_all(project, wide)
    kept = refine(
        request.query,
        hits,
        request.refine,
        request.top_k,
        fetch_vectors=load_vectors,
        count_tokens=count_tokens,
        trace=request.trace,
    )
    ranking.note_recalls([hit.memory.pk for hit in kept if hit.memory])
    return kept


def find_all(project: Project, request: SearchRequest) -> list[Hit]:
    """Of the query and of its other wordings, their rankings fused. A hit's score is the best that it had in any."""
    if not request.also:
        return find(project, request)
    rankings = [find(project, replace(request, query=query)) for query in (request.query, *request.also)]
    best: dict[tuple[str, int], Hit] = {}
    for hit in (hit for hits in rankings for hit in hits):
        if hit.key not in best or hit.score > best[hit.key].score:
            best[hit.key] = hit
    fused = fuse_rankings([[hit.key for hit in hits] for hits in rankings])[: request.top_k]
    for key, score in fused:
        best[key].breakdown["expansion"] = round(score, 4)
    return [best[key] for key, _ in fused]


def find(project: Project, request: SearchRequest) -> list[Hit]:
    """Hits of the query alone, best first."""
    found = find_memories(project, request) if "memories" in request.include else []
    if "documents" in request.include:
        found = merge(found, find_in_documents(project, request), request.top_k)
    return found


def find_in_documents(project: Project, request: SearchRequest) -> list[Hit]:
    """Chunks. Their scores are made as those of memories are, so that the two can be merged."""
    moments = [at for at in (request.moment.as_of, request.moment.known_at) if at is not None]
    asked = ChunkQuery(
        request.query,
        request.filter,
        top_k=request.top_k,
        threshold=request.threshold,
        keyword_search=request.keyword_search,
        fusion=request.fusion,
        before=min(moments, default=None),
        left_out=frozenset().union(*(STAGES[stage] for stage in request.without)),
    )
    found = find_chunks(project, asked)
    return [Hit(one.score, one.breakdown, contributions=one.contributions, chunk=one) for one in found]


def find_memories(project: Project, request: SearchRequest) -> list[Hit]:
    """Memories, and messages that are none yet."""
    vector = _beside.submit(embed_query, request.query)  # on another core, while the database reads
    scope_ids = find_scopes(project, request.filter)
    passing = compile_passing(project, scope_ids, request)
    known = find_documents(passing, scope_ids)
    speaker_aware = request.fusion == "learned" and "speaker" not in request.without
    question = questions.read(request.query, known.documents.traits, speaker_aware=speaker_aware)
    ranked: list[Hit] = []
    if passing and len(known.documents.ids):
        scored = score_documents(known, scope_ids, passing, vector, question, request)
        ranked = rank(known.documents, scored, request, ranking.load_effects(project, scope_ids))
    pending = search_pending(scope_ids, request, question.terms)
    return merge(ranked, pending, request.top_k)


def find_scopes(project: Project, node: Filter) -> list[int]:
    """The scopes that the filter can reach: where postings and vectors are looked up."""
    scopes = Scope.objects.filter(project=project)
    condition = scope_condition(node)
    if condition is not None:
        scopes = scopes.filter(condition).distinct()
    return sorted(scopes.values_list("id", flat=True))


def memories_passing(project: Project, node: Filter, *, show_expired: bool = False, moment: Moment = NOW) -> Any:
    """The memories that hold at the moment and that a filter lets through: the same for search, list and delete."""
    memories = Memory.objects.in_project(project).filter(holding(moment)).filter(to_q(node))
    return memories if show_expired else memories.unexpired(moment.as_of or moment.known_at or timezone.now())


@dataclass(frozen=True, slots=True)
class Passing:
    """The memories that a search may return, as SQL: every stage that looks for candidates looks among these."""

    sql: str
    params: tuple[Any, ...]


def compile_passing(project: Project, scope_ids: Sequence[int], request: SearchRequest) -> Passing | None:
    """None where the filter lets nothing through, as `in` of an empty list does."""
    memories = memories_passing(project, request.filter, show_expired=request.show_expired, moment=request.moment)
    columns = ("id", "session_id", "position", "num_terms", "text_version", "traits")
    rows = memories.filter(scope_id__in=scope_ids).values(*columns)
    try:
        sql, params = rows.order_by().query.sql_with_params()
    except EmptyResultSet:
        return None
    return Passing(sql, tuple(params))


def find_documents(passing: Passing | None, scope_ids: Sequence[int]) -> Entry:
    """What the filter lets through: as this process has it, if the scopes' versions say that it still holds.

    The vectors come with it from the second question over the same documents on.
    """
    if passing is None or len(scope_ids) > MAX_SCOPES:
        return Entry({}, load_documents(passing))
    versions = versions_of(scope_ids)  # before what they vouch for: a change in between is found the next time
    key = (serving_profile().pk, passing.sql, passing.params)
    kept = _cache().get(key)
    if kept is not None and kept.versions == versions:
        return kept
    entry = Entry(versions, load_documents(passing))
    if _cache().asked_before(key):
        if 0 < len(entry.documents.ids) <= EXACT_LIMIT:
            entry = replace(entry, vectors=fill_vectors(entry.documents, kept, load_vectors))
        _cache().put(key, entry)
    return entry


@lru_cache(maxsize=1)
def _cache() -> SearchCache:
    return SearchCache(settings.ENV.search_cache_mb * 2**20)


def _sweep_cache(everything: bool) -> bool:
    return _cache().sweep(everything) if _cache.cache_info().currsize else False


caches.register(_sweep_cache)


def load_documents(passing: Passing | None) -> Documents:
    if passing is None:
        return _arrange(np.empty(0, DOCUMENT))
    packed = _fetch_packed(
        f"SELECT string_agg(int8send((((id << {TEXT_VERSION_BITS}) + text_version %% {2**TEXT_VERSION_BITS}) "
        f"<< {TERMS_BITS}) + least(num_terms, {2**TERMS_BITS - 1})) || "
        f"int8send((coalesce(session_id, 0) << {POSITION_BITS}) + coalesce(position + 1, 0)) || int8send(traits), "
        "''::bytea) "
        f"FROM ({passing.sql}) AS documents",
        passing.params,
    )
    return _arrange(np.frombuffer(packed, DOCUMENT))


def _arrange(found: NDArray[Any]) -> Documents:
    found = found[np.argsort(found["session_position"], kind="stable")]
    ids_versions, num_terms = np.divmod(found["id_version_terms"].astype(np.int64), 2**TERMS_BITS)
    ids, text_versions = np.divmod(ids_versions, 2**TEXT_VERSION_BITS)
    session, position = np.divmod(found["session_position"].astype(np.int64), 2**POSITION_BITS)
    turns = (position - 1) // POSITIONS_PER_MESSAGE  # below zero: no turn
    near = np.diff(turns) <= MAX_GAP_TURNS  # a filter may have taken out what stood between them
    linked = (session[1:] == session[:-1]) & (turns[:-1] >= 0) & near
    by_id = np.argsort(ids, kind="stable")
    begins = np.ones(len(ids), np.bool_)
    begins[1:] = (session[1:] != session[:-1]) | (session[1:] == 0)
    numbers = np.cumsum(begins) - 1
    return Documents(
        ids,
        num_terms.astype(np.float64),
        text_versions,
        linked,
        by_id,
        traits.unpack(found["traits"].astype(np.int64)),
        numbers,
        int(begins.sum()),
        Windows(linked),
    )


def load_vectors(memory_ids: Sequence[int]) -> tuple[Ids, Vectors]:
    """(the ids that have a vector, their vectors (M, D), unit length)"""
    profile = serving_profile()
    packed = _fetch_packed(
        "SELECT string_agg(int8send(memory_id) || vector_send(vector), ''::bytea) FROM memory_service_embedding "
        "WHERE profile_id = %s AND memory_id = ANY(%s)",
        [profile.pk, list(memory_ids)],
    )
    row = np.dtype([("id", ">i8"), ("header", ">i2", 2), ("vector", ">f4", profile.dimensions)])
    found = np.frombuffer(packed, row)
    vectors = found["vector"].astype(np.float32)
    return found["id"].astype(np.int64), vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def _fetch_packed(sql: str, params: Iterable[Any]) -> bytes:
    """One binary value: ten thousand rows as one string cost a tenth of ten thousand rows."""
    with connection.cursor() as cursor:
        cursor.execute(sql, tuple(params))
        row = cursor.fetchone()
    return (row[0] if row else None) or b""


def score_documents(
    known: Entry,
    scope_ids: Sequence[int],
    passing: Passing,
    vector: Future[Vectors],
    question: questions.Question,
    request: SearchRequest,
) -> dict[str, Scores]:
    """(N,) scores from 0 to 1 for each signal that this search uses."""
    documents = known.documents
    left_out = frozenset().union(*(STAGES[stage] for stage in request.without))
    wanted = _wanted_signals(request) - left_out
    terms = question.content if request.keyword_search and wanted & STAGES["words"] else ()
    frequencies = load_postings(documents, scope_ids, terms)
    asked = replace(question, content=tuple(terms))
    words = signals.compute(documents, asked, frequencies, np.zeros(0), wanted=["bm25"])["bm25"]
    cosines = score_meaning(known, scope_ids, passing, vector.result(), words)
    names = [name for name in signals.NAMES if name in wanted]
    found = signals.compute(documents, asked, frequencies, cosines, wanted=names)
    if "pseudo_feedback" in wanted:
        found["pseudo_feedback"] = score_feedback(documents, scope_ids, question, found)
    if "time" in wanted:
        found |= score_time(documents, passing, request)
    if "graph" in wanted:
        found["graph"] = score_walk(documents, scope_ids, request.query)
    return found


def _wanted_signals(request: SearchRequest) -> frozenset[str]:
    if request.fusion != "learned":
        return frozenset(signals.BASIC)
    wanted = set(fusion.learned_weights(with_feedback=request.expand == "feedback").weights)
    wanted |= {"time"} | ({"graph"} if request.walk else set())
    return frozenset(wanted)


def score_feedback(
    documents: Documents, scope_ids: Sequence[int], question: questions.Question, found: dict[str, Scores]
) -> Scores:
    """The terms of the best texts by the basic signals, as a query of their own."""
    basic = [found[name] for name in signals.BASIC if name in found]
    if not basic:
        return np.zeros(len(documents.ids))
    first = np.mean(basic, axis=0)
    best = np.argsort(-first, kind="stable")[: signals.NUM_FEEDBACK_TEXTS]
    texts: dict[int, dict[str, int]] = {int(documents.ids[row]): {} for row in best}
    for memory_id, term, tf in Posting.objects.filter(memory__in=list(texts)).values_list("memory_id", "term", "tf"):
        texts[memory_id][term] = tf
    weights = [float(first[row]) for row in best]
    candidates = signals.feedback_candidates(list(texts.values()), weights, known=set(question.terms))
    frequencies = load_postings(documents, scope_ids, list(candidates))
    return signals.feedback(documents, candidates, frequencies)


def score_time(documents: Documents, passing: Passing, request: SearchRequest) -> dict[str, Scores]:
    """1 for what was said, or was true, in a time that the question names. Nothing where it names none."""
    today = request.reference_date or timezone.now()
    spans = [(e.begin, e.finish) for e in find_time_expressions(request.query, reference=today)]
    if not spans:
        return {}
    inside = "(m.said_at >= %s AND m.said_at < %s) OR (m.valid_at >= %s AND m.valid_at < %s)"
    inside = " OR ".join([inside] * len(spans))
    packed = _fetch_packed(
        f"SELECT string_agg(int8send(m.id), ''::bytea) FROM memory_service_memory m "
        f"JOIN ({passing.sql}) AS d ON d.id = m.id WHERE {inside}",
        [*passing.params, *(moment for span in spans for moment in (*span, *span))],
    )
    rows, known = documents.rows_of(np.frombuffer(packed, ">i8").astype(np.int64))
    scores = np.zeros(len(documents.ids))
    scores[rows[known]] = 1.0
    return {"time": scores}


def score_walk(documents: Documents, scope_ids: Sequence[int], query: str) -> Scores:
    """What the entities of a memory are worth in a walk from those that the question names, the best as 1."""
    found = walking.walk(scope_ids, query)
    scores = np.zeros(len(documents.ids))
    if found:
        rows, known = documents.rows_of(np.fromiter(found, np.int64, len(found)))
        scores[rows[known]] = np.fromiter(found.values(), np.float64, len(found))[known]
    return scores


def load_postings(documents: Documents, scope_ids: Sequence[int], query_terms: Sequence[str]) -> dict[str, Scores]:
    """For each query term that occurs, (N,) how often it stands in each document."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT term, string_agg(int8send(memory_id) || int2send(tf), ''::bytea) FROM memory_service_posting "
            "WHERE scope_id = ANY(%s) AND term = ANY(%s) GROUP BY term",
            [list(scope_ids), list(query_terms)],
        )
        found = cursor.fetchall()
    frequencies = {}
    for term, packed in found:
        postings = np.frombuffer(packed, POSTING)
        rows, known = documents.rows_of(postings["id"].astype(np.int64))
        if known.any():
            frequencies[term] = np.zeros(len(documents.ids))
            frequencies[term][rows[known]] = postings["tf"][known]
    return frequencies


def score_meaning(known: Entry, scope_ids: Sequence[int], passing: Passing, vector: Vectors, words: Scores) -> Scores:
    """Cosines, negative ones as 0."""
    documents = known.documents
    if known.vectors is not None:
        return np.clip(known.vectors @ (vector / np.linalg.norm(vector)), 0.0, 1.0).astype(np.float64)
    literal = to_literal(vector)
    if len(documents.ids) <= EXACT_LIMIT:
        found = _exact(literal, documents, scope_ids)
    else:
        found = _approximate(literal, documents, passing, words)
    cosines = np.zeros(len(documents.ids))
    rows, scored = documents.rows_of(found["id"].astype(np.int64))
    cosines[rows[scored]] = found["value"][scored]
    return np.clip(cosines, 0.0, 1.0)


def _exact(vector: str, documents: Documents, scope_ids: Sequence[int]) -> NDArray[Any]:
    if len(documents.ids) <= FEW_DOCUMENTS:
        return _similarities(vector, "memory_id = ANY(%s)", documents.ids.tolist())
    return _similarities(vector, "scope_id = ANY(%s)", list(scope_ids))


def _similarities(vector: str, condition: str, values: list[int]) -> NDArray[Any]:
    profile = serving_profile()
    packed = _fetch_packed(
        "SELECT string_agg(int8send(memory_id) || float4send((1 - (vector <=> %s::vector))::float4), ''::bytea) "
        f"FROM memory_service_embedding WHERE profile_id = %s AND {condition}",
        [vector, profile.pk, values],
    )
    return np.frombuffer(packed, SIMILARITY)


def _approximate(vector: str, documents: Documents, passing: Passing, words: Scores) -> NDArray[Any]:
    """Candidates from HNSW and BM25 with their neighbours, then their exact cosines."""
    best = np.argsort(-words, kind="stable")[:NUM_APPROXIMATE]
    rows, known = documents.rows_of(np.array(_nearest(vector, passing), dtype=np.int64))
    chosen = np.union1d(best, rows[known])
    around = np.unique(np.clip(np.concatenate([chosen - 1, chosen, chosen + 1]), 0, len(documents.ids) - 1))
    return _similarities(vector, "memory_id = ANY(%s)", documents.ids[around].tolist())


def _nearest(vector: str, passing: Passing) -> list[int]:
    """Through the profile's index, which is read on until enough rows pass the filter (pgvector 0.8)."""
    profile = serving_profile()
    cast = f"vector({profile.dimensions})"
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL hnsw.iterative_scan = relaxed_order")
        cursor.execute(f"SET LOCAL hnsw.ef_search = {HNSW_EF_SEARCH}")
        cursor.execute(f"SET LOCAL hnsw.max_scan_tuples = {MAX_SCAN_TUPLES}")
        cursor.execute(
            f"SELECT e.memory_id FROM memory_service_embedding e JOIN ({passing.sql}) AS d ON d.id = e.memory_id "
            f"WHERE e.profile_id = {profile.pk} ORDER BY e.vector::{cast} <=> %s::{cast} LIMIT {NUM_APPROXIMATE}",
            [*passing.params, vector],
        )
        return [row[0] for row in cursor.fetchall()]


def rank(documents: Documents, found: dict[str, Scores], request: SearchRequest, effects: ranking.Effects) -> list[Hit]:
    """Fuses, lets feedback and decay act, cuts at the threshold, moves repetition back, and reads the rows of what is
    left."""
    weights = fusion.learned_weights(with_feedback=request.expand == "feedback").extended(fusion.BY_HAND)
    scores = fusion.fuse(found, request.fusion, weights)
    common = sum((found[name] for name in (*STAGES["words"], *STAGES["meaning"]) if name in found), np.zeros(1))
    scores = np.where(common > 0, scores, 0.0)  # nothing in common: never returned
    adjusted = ranking.adjust(scores, documents.ids, effects, top=2 * request.top_k)
    scores = adjusted.scores
    order = np.argsort(-scores, kind="stable")
    order = order[scores[order] > 0]
    if request.threshold is not None:
        order = order[scores[order] >= request.threshold]
    order = order[: 2 * request.top_k]  # enough that what is moved back can be replaced
    sources = load_sources(documents.ids[order].tolist())
    kept = order.tolist() if "dedupe" in request.without else _new_evidence_first(order, documents.ids, sources)
    kept = kept[: request.top_k]
    memories = Memory.objects.for_rendering().in_bulk(documents.ids[kept].tolist())
    if request.moment.known_at is not None:
        for memory_id, text in texts_known_at(memories.values(), request.moment.known_at).items():
            memories[memory_id].text = text
    added = weights.contributions(found) if request.fusion == "learned" else {}
    return [
        Hit(
            score=float(scores[row]),
            breakdown={name: round(float(signal[row]), 4) for name, signal in found.items()} | adjusted.parts(row),
            contributions={name: round(float(part[row]), 4) for name, part in added.items()},
            memory=memories[int(documents.ids[row])],
            sources=sources.get(int(documents.ids[row]), []),
        )
        for row in kept
        if int(documents.ids[row]) in memories
    ]


def load_sources(memory_ids: Sequence[int]) -> dict[int, list[Source]]:
    """For each memory the messages it rests on, once each, in the order they were said."""
    found: dict[int, list[Source]] = {}
    rows = MemorySource.objects.filter(memory_id__in=memory_ids).order_by("message_id").distinct()
    columns = ("memory_id", "message_id", "message__client_id", "message__public_id")
    origin = ("message__session__public_id", "message__session__run_id", "message__said_at", "memory__kind")
    for memory_id, message_id, client_id, public_id, *rest in rows.values_list(*columns, *origin):
        source = Source(memory_id, message_id, client_id or str(public_id), *rest)
        found.setdefault(memory_id, []).append(source)
    return found


def _new_evidence_first(order: NDArray[np.int64], ids: Ids, sources: dict[int, list[Source]]) -> list[int]:
    """A fact and the turn that it was drawn from say the same: the better one stays, the other goes to the end. Two
    facts of one turn say two things."""
    said: set[int] = set()  # messages that stand above as they were said
    stated: set[int] = set()  # messages that a fact above was drawn from
    fresh: list[int] = []
    repeated: list[int] = []
    for row in order.tolist():
        found = sources.get(int(ids[row]), [])
        messages = {source.message_id for source in found}
        is_turn = any(source.kind == Memory.Kind.EPISODIC for source in found)
        known = said | stated if is_turn else said
        (repeated if messages and messages <= known else fresh).append(row)
        (said if is_turn else stated).update(messages)
    return fresh + repeated


def search_pending(scope_ids: Sequence[int], request: SearchRequest, query_terms: Sequence[str]) -> list[Hit]:
    """Messages that are accepted but not memories yet, by the share of the query's words that they hold."""
    events = list(Event.objects.without_memories().filter(scope_id__in=scope_ids).values_list("id", flat=True))
    searched = events and query_terms and request.keyword_search
    condition = to_message_q(request.filter) if searched else None
    if condition is None:
        return []
    if request.moment.as_of is not None:
        condition &= Q(said_at__lte=request.moment.as_of)
    if request.moment.known_at is not None:
        condition &= Q(created_at__lte=request.moment.known_at)
    messages = (
        Message.objects.filter(condition, event_id__in=events, withdrawn_at__isnull=True)
        .exclude(role="system")
        .select_related("session__scope", "event")
        .order_by("-id")[:MAX_PENDING]
    )
    hits = []
    today = timezone.now().date().isoformat()
    for message in messages:
        if not request.show_expired and (message.event.options.get("expiration_date") or today) < today:
            continue
        held = set(lexical.terms(f"{message.name or ''} {message.content}"))
        share = sum(term in held for term in query_terms) / len(query_terms)
        if share > 0 and share >= (request.threshold or 0):
            hits.append(Hit(score=share, breakdown={"bm25": round(share, 4)}, message=message))
    return sorted(hits, key=lambda hit: -hit.score)


def merge(ranked: list[Hit], pending: list[Hit], top_k: int) -> list[Hit]:
    """By score; the order inside `ranked` is kept, as it is not by score alone."""
    if not pending:
        return ranked[:top_k]
    merged: list[Hit] = []
    waiting = list(reversed(pending))
    for hit in ranked:
        while waiting and waiting[-1].score >= hit.score:
            merged.append(waiting.pop())
        merged.append(hit)
    return (merged + waiting[::-1])[:top_k]
