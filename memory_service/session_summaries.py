"""Summaries of sessions: one that follows a live session, and a tree that is built over an archive.

    incremental    the newest messages are merged into the running summary, which is compressed where it overflows
    hierarchical   level 0 summarises runs of messages, each level above the nodes below, until one node is left

Both workflows and their limits are BooookScore's (Chang et al., ICLR 2024); the lengths that a prompt names are
InstructCMP's. Each node of a tree is stored when it is made, with a hash of all that it was made from. A rebuild takes
over every stored node whose hash is still right, so one that was cut short goes on where it stopped, and one over a
session that has grown only makes what is new. Without a model the nodes are sentences that were said (TextRank).
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import pairwise
from typing import Any

from django.db.models import Avg, Count, ExpressionWrapper, F, FloatField, Q
from django.db.models.functions import Abs, Cast
from django.utils import timezone

from . import ledger, summaries
from .errors import LLMUnavailable, ServiceError, TooSoon
from .extraction.llm import without_rendered
from .extraction.types import SourceMessage
from .extractive import Sentence, label, num_words, sentences_of, split_sentences, summarise_sentences
from .ingest import to_source
from .llm import LLMConfig, Message, complete_structured
from .locks import Kind, advisory_lock
from .models import Session, SummaryNode
from .project_llm import llm_of
from .prompts.summarise_tree import Summary, leaf_prompt, merge_prompt

logger = logging.getLogger(__name__)

SUMMARY_MESSAGES = 200  # taken into a running summary at a time
SUMMARY_PAUSE = timedelta(minutes=10)  # after one that failed

CHUNK_WORDS = 1_200  # of messages in a node of level 0, and of summaries in a node above
SHRINK = 0.65  # BooookScore: the limit of a level is 0.65 of that of the level above
MIN_NODE_WORDS = 40
ROOM_SHARE = 0.8  # of CHUNK_WORDS for children; BooookScore leaves up to a fifth for the summary before
ASK_SHARE = 0.9  # of the limit: a model that writes a little more than asked is still inside
MAX_TRIES = 4
TRY_SHRINK = 0.85  # of the length asked, with each new try
TRY_TEMPERATURE = 1.0  # BooookScore's, for a second try; the first is at FIRST_TEMPERATURE
FIRST_TEMPERATURE = 0.5
DEFAULT_WORDS, MIN_WORDS, MAX_WORDS = summaries.MAX_WORDS, 50, 1_000
CHARS_PER_TOKEN = 4
CHARS_PER_WORD = 8  # a script without spaces has few "words" in many characters
FORMAT = 1  # raise it where the same input is to give other nodes

NODE_COLUMNS = (
    "first_seq",
    "last_seq",
    "text",
    "source_words",
    "asked_words",
    "num_words",
    "num_tokens",
    "num_tries",
    "method",
    "model",
    "children_hash",
    "created_at",
)

LABELLED = re.compile(r"^(?P<label>.{1,300}?, \d{1,2} [A-Z][a-z]+ \d{4}): (?P<text>.*)$", re.DOTALL)


# Live sessions


def refresh(session: Session) -> None:
    """Takes the messages since the last time into the session's running summary: by the model, or by extraction.

    Whoever sets summary_retry_at has the session to itself until then; after a failure it stays set.
    """
    now = timezone.now()
    free = Session.objects.filter(pk=session.pk).filter(Q(summary_retry_at=None) | Q(summary_retry_at__lte=now))
    fresh = list(session.messages.filter(seq__gt=session.summary_seq).order_by("seq")[:SUMMARY_MESSAGES])
    if not fresh or not free.update(summary_retry_at=now + SUMMARY_PAUSE):
        return
    sources = [to_source(message) for message in fresh if message.withdrawn_at is None]
    llm = llm_of(session.scope.project)
    try:
        with ledger.charged(session.scope.project, event=fresh[-1].event, scope=session.scope):
            text, method = _merge_fresh(llm, session.summary, sources)
    except ServiceError as exc:
        logger.warning("session %s keeps its summary: %s", session.public_id, exc)
        return
    # Only from the state that was read: of two that run at once, one wins and nothing is summarised twice.
    updated = Session.objects.filter(pk=session.pk, summary_seq=session.summary_seq).update(
        summary=text, summary_seq=fresh[-1].seq, summary_retry_at=None
    )
    if updated:
        source_words = num_words(session.summary) + sum(num_words(source.content) for source in sources)
        _record_running(session, text, method, llm, source_words, last_seq=fresh[-1].seq)


def _merge_fresh(llm: LLMConfig | None, previous: str, sources: Sequence[SourceMessage]) -> tuple[str, str]:
    if llm is None:
        return summaries.summarise_local(previous, sources), SummaryNode.Method.EXTRACTIVE
    try:
        return summaries.summarise(llm, previous, sources)[0], SummaryNode.Method.LLM
    except LLMUnavailable:
        raise
    except ServiceError as exc:
        logger.warning("summarised without the language model: %s", exc)
        return summaries.summarise_local(previous, sources), SummaryNode.Method.EXTRACTIVE


def _record_running(
    session: Session, text: str, method: str, llm: LLMConfig | None, source_words: int, *, last_seq: int
) -> None:
    if not text:
        return
    SummaryNode.objects.update_or_create(
        session=session,
        workflow=SummaryNode.Workflow.INCREMENTAL,
        level=0,
        index=0,
        defaults={
            "first_seq": 0,
            "last_seq": last_seq,
            "text": text,
            "source_words": source_words,
            "asked_words": max(1, min(summaries.MAX_WORDS, source_words)),
            "num_words": num_words(text),
            "num_tokens": num_tokens(text),
            "method": method,
            "model": llm.model if llm and method == SummaryNode.Method.LLM else "",
            "children_hash": "",
            "created_at": timezone.now(),
        },
    )


# Trees


@dataclass(frozen=True, slots=True)
class Chunk:
    """Messages that one node of level 0 summarises."""

    messages: tuple[SourceMessage, ...]
    first_seq: int
    last_seq: int


@dataclass(slots=True)
class Rebuilt:
    """What a rebuild came to. num_computed: the nodes that were made now, not found."""

    num_levels: int = 0
    num_nodes: int = 0
    num_computed: int = 0
    summary: str = ""
    last_seq: int = -1
    notes: list[str] = field(default_factory=list)


def rebuild(session: Session, *, max_words: int = DEFAULT_WORDS, event: Any = None) -> Rebuilt:
    """Builds the session's tree over all its messages, and makes its root the session's summary.

    max_words: of the root. Raises LLMUnavailable, with what was made so far stored; TooSoon where another rebuild of
    the session is under way. A model that may not be asked, refuses or talks nonsense is done without, node by node,
    and the notes say so.
    """
    with advisory_lock(Kind.SUMMARY, session.pk) as held:
        if not held:
            raise TooSoon(f"session {session.public_id} is being summarised already", retry_after_s=10)
        with ledger.charged(session.scope.project, event=event, scope=session.scope):
            return _Builder(session, llm_of(session.scope.project), max_words).build()


class _Builder:
    def __init__(self, session: Session, llm: LLMConfig | None, max_words: int) -> None:
        self.session, self.llm, self.max_words = session, llm, max_words
        self.result = Rebuilt()
        rows = SummaryNode.objects.filter(session=session, workflow=SummaryNode.Workflow.HIERARCHICAL)
        self.stored = {(node.level, node.index): node for node in rows}

    def build(self) -> Rebuilt:
        chunks = list(chunk_messages(self.session))
        if not chunks:
            self._drop_beyond({})
            return self.result
        limits = level_limits(len(chunks), self.max_words)
        nodes = self._leaves(chunks, limits[0])
        sizes = {0: len(nodes)}
        for level in range(1, len(limits)):
            nodes = self._merge(nodes, level, limits[level], fan_out(limits[level - 1]))
            sizes[level] = len(nodes)
        assert len(nodes) == 1  # level_limits chose as many levels as it takes
        self._drop_beyond(sizes)
        self._finish(nodes[0], sizes)
        return self.result

    def _leaves(self, chunks: Sequence[Chunk], limit: int) -> list[SummaryNode]:
        nodes: list[SummaryNode] = []
        for index, chunk in enumerate(chunks):
            context = _context(nodes)
            said = [[m.speaker, m.said_at.isoformat(), m.content] for m in chunk.messages]
            sentences = [s for m in chunk.messages for s in sentences_of(m.content, label=label(m.speaker, m.said_at))]
            source_words = sum(num_words(message.content) for message in chunk.messages)

            def prompt(keep: int, chunk: Chunk = chunk, context: str = context, words: int = source_words) -> Any:
                return leaf_prompt(chunk.messages, context=context, source_words=words, keep_words=keep)

            node = SummaryNode(level=0, index=index, first_seq=chunk.first_seq, last_seq=chunk.last_seq)
            nodes.append(self._node(node, [context, said], prompt, sentences, source_words, limit))
        return nodes

    def _merge(self, children: Sequence[SummaryNode], level: int, limit: int, width: int) -> list[SummaryNode]:
        nodes: list[SummaryNode] = []
        for index, group in enumerate(_groups(children, width)):
            context = _context(nodes)
            texts = [child.text for child in group]
            source_words = sum(map(num_words, texts))

            def prompt(keep: int, texts: list[str] = texts, context: str = context, words: int = source_words) -> Any:
                return merge_prompt(texts, context=context, source_words=words, keep_words=keep)

            node = SummaryNode(level=level, index=index, first_seq=group[0].first_seq, last_seq=group[-1].last_seq)
            sentences = [sentence for text in texts for sentence in parse_lines(text)]
            nodes.append(self._node(node, [context, texts], prompt, sentences, source_words, limit))
        return nodes

    def _node(
        self,
        node: SummaryNode,
        made_from: list[Any],
        prompt: Callable[[int], list[Message]],
        sentences: Sequence[Sentence],
        source_words: int,
        limit: int,
    ) -> SummaryNode:
        """The stored node where it was made from the same; else made now, and stored at once."""
        llm = self.llm if source_words > limit else None  # what is short enough stays in its own words
        self.result.num_nodes += 1
        wanted = _hash(made_from, limit, llm)
        found = self.stored.get((node.level, node.index))
        if found and found.children_hash == wanted:
            return found
        node.session, node.workflow = self.session, SummaryNode.Workflow.HIERARCHICAL
        node.source_words, node.children_hash = source_words, wanted
        node.asked_words = max(1, min(round(limit * ASK_SHARE) if llm else limit, source_words))
        if llm is None or not self._ask(node, llm, prompt, limit):
            node.text, node.method, node.model = render_lines(summarise_sentences(sentences, limit)), "extractive", ""
            node.children_hash = _hash(made_from, limit, None)
        node.num_words, node.num_tokens = num_words(node.text), num_tokens(node.text)
        self._store(node)
        self.result.num_computed += 1
        return node

    def _ask(self, node: SummaryNode, llm: LLMConfig, prompt: Callable[[int], list[Message]], limit: int) -> bool:
        """False where the model is to be done without."""
        try:
            text, num_tries = ask_within(llm, prompt, asked=node.asked_words, limit=limit)
        except LLMUnavailable:
            raise
        except ServiceError as exc:
            note = f"level {node.level}, node {node.index} was made without the language model: {exc}"
            logger.warning("session %s: %s", self.session.public_id, note)
            self.result.notes.append(note)
            return False
        node.text, node.method, node.model, node.num_tries = text, "llm", llm.model[:200], num_tries
        return True

    def _store(self, node: SummaryNode) -> None:
        SummaryNode.objects.update_or_create(
            session=self.session,
            workflow=node.workflow,
            level=node.level,
            index=node.index,
            defaults={name: getattr(node, name) for name in NODE_COLUMNS},
        )

    def _drop_beyond(self, sizes: dict[int, int]) -> None:
        """Nodes that the tree no longer has, after messages were withdrawn or the limits changed."""
        gone = [node.pk for (level, index), node in self.stored.items() if index >= sizes.get(level, 0)]
        SummaryNode.objects.filter(pk__in=gone).delete()

    def _finish(self, root: SummaryNode, sizes: dict[int, int]) -> None:
        self.result.num_levels, self.result.summary, self.result.last_seq = len(sizes), root.text, root.last_seq
        Session.objects.filter(pk=self.session.pk, summary_seq__lte=root.last_seq).update(
            summary=root.text, summary_seq=root.last_seq, summary_retry_at=None
        )


def ask_within(llm: LLMConfig, prompt: Callable[[int], list[Message]], *, asked: int, limit: int) -> tuple[str, int]:
    """A summary of at most `limit` words, and how many answers it took.

    prompt: from the number of words to keep. An answer that is empty, too long or ends in the middle of a sentence is
    asked for again, shorter. Of answers that are all too long the one nearest to the limit is cut to whole sentences.
    """
    tried: list[str] = []
    for number in range(MAX_TRIES):
        settings = replace(llm, temperature=TRY_TEMPERATURE if number else FIRST_TEMPERATURE)
        keep = max(1, round(asked * TRY_SHRINK**number))
        answer, _ = complete_structured(settings, prompt(keep), Summary, purpose="summarise_tree")
        text = " ".join(answer.summary.split())
        if text and num_words(text) <= limit and text[-1] in ".!?…。！？\"'”’)":
            return text, number + 1
        if text:
            tried.append(text)
    if not tried:
        raise ServiceError(f"{llm.model} answered {MAX_TRIES} times with an empty summary")
    return cut_to_sentences(min(tried, key=lambda text: abs(num_words(text) - limit)), limit), MAX_TRIES


def cut_to_sentences(text: str, limit: int) -> str:
    """The beginning of `text`, in whole sentences as far as one fits, in at most `limit` words."""
    kept: list[str] = []
    for sentence in split_sentences(text):
        if num_words(" ".join([*kept, sentence])) > limit:
            break
        kept.append(sentence)
    return " ".join(kept) or " ".join(text.split()[:limit])


def chunk_messages(session: Session) -> Iterator[Chunk]:
    """The session's messages in order, in runs of about CHUNK_WORDS; a longer message is cut into several pieces."""
    chunk: list[SourceMessage] = []
    first = last = -1
    room = CHUNK_WORDS
    for message in session.messages.filter(withdrawn_at__isnull=True).order_by("seq").iterator(chunk_size=500):
        for said in without_rendered([to_source(message)]):
            for piece in _pieces(said):
                size = _size(piece.content)
                if chunk and size > room:
                    yield Chunk(tuple(chunk), first, last)
                    chunk, room = [], CHUNK_WORDS
                if not chunk:
                    first = message.seq
                chunk.append(piece)
                last, room = message.seq, room - size
    if chunk:
        yield Chunk(tuple(chunk), first, last)


def _size(text: str) -> int:
    return max(num_words(text), len(text) // CHARS_PER_WORD)


def _pieces(message: SourceMessage) -> Iterator[SourceMessage]:
    if _size(message.content) <= CHUNK_WORDS:
        yield replace(message, content=" ".join(message.content.split()))
        return
    piece = ""
    for part in split_sentences(message.content):
        for start in range(0, len(part), CHUNK_WORDS * CHARS_PER_WORD // 2):
            text = part[start : start + CHUNK_WORDS * CHARS_PER_WORD // 2]
            if piece and _size(f"{piece} {text}") > CHUNK_WORDS:
                yield replace(message, content=piece)
                piece = ""
            piece = f"{piece} {text}".strip()
    if piece:
        yield replace(message, content=piece)


def level_limits(num_leaves: int, max_words: int) -> list[int]:
    """The most words of a node of each level, leaves first: as many levels as it takes to come to one node."""
    for num_levels in range(1, 64):
        limits = [max(MIN_NODE_WORDS, round(max_words * SHRINK ** (num_levels - 1 - i))) for i in range(num_levels)]
        left = num_leaves
        for limit in limits[:-1]:
            left = -(-left // fan_out(limit))
        if left == 1:
            return limits
    raise ValueError(f"{num_leaves} parts are too many for a tree of summaries")


def fan_out(child_limit: int) -> int:
    """How many children fit into one prompt."""
    return max(2, int(CHUNK_WORDS * ROOM_SHARE) // child_limit)


def _groups(nodes: Sequence[SummaryNode], width: int) -> list[Sequence[SummaryNode]]:
    """Of about equal size, so that the last does not stand for a few messages alone."""
    count = -(-len(nodes) // width)
    bounds = [round(i * len(nodes) / count) for i in range(count + 1)]
    return [nodes[start:end] for start, end in pairwise(bounds)]


def _context(before: Sequence[SummaryNode]) -> str:
    """What the node before says, in the fifth of the room that BooookScore gives it, from its end."""
    if not before:
        return ""
    kept: list[str] = []
    room = int(CHUNK_WORDS * (1 - ROOM_SHARE))
    for sentence in reversed(split_sentences(before[-1].text)):
        room -= num_words(sentence)
        if room < 0:
            break
        kept.append(sentence)
    return " ".join(reversed(kept))


def _hash(made_from: list[Any], limit: int, llm: LLMConfig | None) -> str:
    # A node of sentences does not read what stands before it.
    inputs = [FORMAT, limit, llm.model if llm else "", made_from if llm else made_from[1:]]
    return hashlib.sha256(json.dumps(inputs, ensure_ascii=False).encode("utf-8", "replace")).hexdigest()


def num_tokens(text: str) -> int:
    return -(-len(text) // CHARS_PER_TOKEN)


# Sentences as lines


def render_lines(sentences: Sequence[Sentence]) -> str:
    """One line for each run of sentences with the same label: "Ann, 2 March 2025: I moved. It rained."."""
    lines: list[str] = []
    before: str | None = None
    for sentence in sentences:
        if lines and sentence.label == before:
            lines[-1] += f" {sentence.text}"
        else:
            lines.append(sentence.line)
        before = sentence.label
    return "\n".join(lines)


def parse_lines(text: str) -> list[Sentence]:
    found: list[Sentence] = []
    for line in text.splitlines():
        match = LABELLED.match(line)
        if match:
            found += [Sentence(part, match["label"]) for part in split_sentences(match["text"])]
        else:
            found += [Sentence(part) for part in split_sentences(line)]
    return found


# What was measured


def length_error(nodes: Any) -> dict[str, Any]:
    """nodes: a queryset of SummaryNode. The mean of |words - asked| / asked over those that a model wrote.

    Source: InstructCMP's length error. mean_error is None where no model wrote any.
    """
    asked, got = Cast("asked_words", FloatField()), Cast("num_words", FloatField())
    error = ExpressionWrapper(Abs(got - asked) / asked, output_field=FloatField())
    over = Count("id", filter=Q(num_words__gt=F("asked_words")))
    written = nodes.filter(method=SummaryNode.Method.LLM)
    return dict(
        written.aggregate(num_nodes=Count("id"), mean_error=Avg(error), num_over=over, mean_tries=Avg("num_tries"))
    )
