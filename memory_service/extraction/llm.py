"""Messages -> candidate memories by a language model, every one tied to the words it rests on.

What the model says is believed only as far as it can be found in the new messages: a fact without findable
words, or whose words, numbers or negations are not theirs, goes to quarantine. Who did it to whom is not
examined: "Bob paid Ann" has the words of "I paid Bob".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from memory_service.extraction.grounding import (
    amounts,
    clauses,
    content_words,
    denies_otherwise,
    ground,
    names_in,
    telling_words,
    unfounded_numbers,
)
from memory_service.extraction.rendered import strip_rendered
from memory_service.extraction.types import Candidate, EntityMention, Extraction, Grounding, SourceMessage
from memory_service.llm import LLMConfig, Message, complete_structured
from memory_service.prompts.add_only import add_only_prompt
from memory_service.prompts.extract import Fact, Facts, extract_prompt, wishes_text

WINDOW_MESSAGES = 10  # m of the Mem0 paper, section 2.1

# Of a fact's telling words, what must have been said. With half, "We adopted a puppy, Bo" may become "Ann adopted a dog
# named Bo" (one of three put another way), and "I live in Oslo" not "Ann robbed a bank in Oslo" (two of three made up).
# More would lose short honest facts, where one word of two is often another.
MIN_SAID = 0.5

Span = tuple[int, int]


@dataclass(frozen=True)
class Wishes:
    """What a project asks of extraction, in words; all may be empty.

    custom_categories: [{name: what belongs to it}, ...], as the Mem0 platform writes them. Without any, no
    category is given. includes, excludes: what to keep above all, what never to keep.
    """

    custom_instructions: str = ""
    custom_categories: Sequence[Mapping[str, str]] = ()
    includes: str = ""
    excludes: str = ""

    @property
    def categories(self) -> dict[str, str]:
        return {name: meaning for entry in self.custom_categories for name, meaning in entry.items()}

    @property
    def text(self) -> str:
        return wishes_text(
            custom_instructions=self.custom_instructions,
            categories=self.categories,
            includes=self.includes,
            excludes=self.excludes,
        )


def extract_llm(
    config: LLMConfig,
    messages: Sequence[SourceMessage],
    *,
    summary: str,
    window: Sequence[SourceMessage],
    custom_instructions: str = "",
    custom_categories: Sequence[Mapping[str, str]] = (),
    includes: str = "",
    excludes: str = "",
) -> Extraction:
    """The facts in `messages`, by one request (up to three if the answer is faulty). Nothing is stored.

    summary and window (the messages before, of which the last ten are shown) are context, never a source.
    System messages are instructions to an agent, and are neither. Raises LLMUnavailable, LLMRejected,
    LLMMalformed. Source: Mem0, arXiv:2504.19413, section 2.1.
    """
    sources = Sources(messages, summary=summary, window=window)
    if not sources.numbered:
        return nothing_said()
    wishes = Wishes(custom_instructions, custom_categories, includes, excludes)
    prompt = extract_prompt(sources.numbered, summary=summary, window=context(window), wishes=wishes.text)
    return _extract(config, prompt, sources, wishes, purpose="extract")


def extract_with_known(
    config: LLMConfig,
    messages: Sequence[SourceMessage],
    *,
    summary: str,
    window: Sequence[SourceMessage],
    known: Sequence[str],
    wishes: Wishes,
) -> Extraction:
    """As extract_llm, but shown the texts of the memories that exist, so as not to say them again."""
    sources = Sources(messages, summary=summary, window=window)
    if not sources.numbered:
        return nothing_said()
    prompt = add_only_prompt(sources.numbered, summary=summary, window=context(window), known=known, wishes=wishes.text)
    return _extract(config, prompt, sources, wishes, purpose="extract_add_only")


class Sources:
    """The new messages as the model sees them: numbered from 1, without what this service itself had
    rendered.

    Contents keep their length, so that a span in one is the same span in what was said.
    """

    def __init__(
        self, messages: Sequence[SourceMessage], *, summary: str = "", window: Sequence[SourceMessage] = ()
    ) -> None:
        said = _said_themselves(messages)
        earlier = context(window)
        self.numbered = {number: message for number, (message, _) in enumerate(said, start=1)}
        self._rendered = {number: spans for number, (_, spans) in enumerate(said, start=1)}
        self._before = dict(enumerate([*earlier[-1:], *self.numbered.values()], start=1 if earlier else 2))
        self._names = names_in(" ".join([summary, *(message.content for message in earlier)]))
        self.speakers = {message.speaker for message in [*earlier, *self.numbered.values()]}

    def find(self, quote: str, number: int) -> tuple[int, Span] | None:
        """Where `quote` stands, as (number, span): in the message called `number`, else in another."""
        others = [other for other in self.numbered if other != number]
        for candidate in (number, *others):
            span = ground(quote, self.numbered[candidate].content)
            if span and not _overlaps(span, self._rendered[candidate]):
                return candidate, span
        return None

    def known_words(self, number: int) -> frozenset[str]:
        """What a fact from message `number` may speak of: its words, those of the message before it (which it may
        answer), and the names in the summary and the window (for its "she" and "it")."""
        before = self._before.get(number)
        return (
            content_words(self.numbered[number].content) | content_words(before.content if before else "") | self._names
        )


def context(window: Sequence[SourceMessage]) -> list[SourceMessage]:
    """The last ten messages before the new ones, without what this service rendered."""
    return without_rendered(window)[-WINDOW_MESSAGES:]


def without_rendered(messages: Sequence[SourceMessage]) -> list[SourceMessage]:
    """What was really said: no system text, no context that this service rendered."""
    return [message for message, _ in _said_themselves(messages)]


def nothing_said() -> Extraction:
    return Extraction(notes=["the new messages hold nothing but system text, recalled context or blanks"])


def _extract(
    config: LLMConfig, prompt: Sequence[Message], sources: Sources, wishes: Wishes, *, purpose: str
) -> Extraction:
    answer, usage = complete_structured(config, prompt, Facts, purpose=purpose)
    extraction = to_extraction(answer.facts, sources, categories=wishes.categories)
    extraction.usage = usage
    return extraction


def to_extraction(facts: Iterable[Fact], sources: Sources, *, categories: Mapping[str, str]) -> Extraction:
    """Ground each fact: candidates are those whose words were found, quarantined the rest, notes say why."""
    extraction = Extraction()
    seen: set[str] = set()
    parts: dict[int, int] = {}
    for fact in facts:
        text = " ".join(fact.text.split())
        if not text or text.casefold() in seen:
            continue
        seen.add(text.casefold())
        found, fault = _check(fact, text, sources)
        if found is None:
            extraction.quarantined.append(_candidate(fact, text, None, sources, categories))
            extraction.notes.append(f"quarantined {text[:80]!r}: {fault}")
            continue
        candidate = _candidate(fact, text, found, sources, categories)
        if candidate.kind == "episodic":
            candidate = replace(candidate, part=parts.get(found[0], 0))
            parts[found[0]] = candidate.part + 1
        extraction.candidates.append(candidate)
    return extraction


def _check(fact: Fact, text: str, sources: Sources) -> tuple[tuple[int, Span] | None, str]:
    if fact.message not in sources.numbered:
        return None, f"message {fact.message} is not among the new ones, 1 to {len(sources.numbered)}"
    found = sources.find(fact.quote, fact.message)
    if found is None:
        return None, f"its quote {fact.quote[:80]!r} is in none of the new messages"
    if not (content_words(text) & content_words(fact.quote) or set(amounts(text)) & set(amounts(fact.quote))):
        return None, f"it shares no word with its quote {fact.quote[:80]!r}"
    fault = _unlike(text, found, sources)
    return (None, fault) if fault else (found, "")


def _unlike(text: str, found: tuple[int, Span], sources: Sources) -> str:
    """Why `text` is not what was said at `found`, or ""."""
    number, span = found
    message = sources.numbered[number]
    if missing := unfounded_numbers(text, message.content, told_at=message.said_at):
        return f"its message does not say {', '.join(missing)}"
    if denies_otherwise(text, *clauses(message.content, *span)):
        return "it denies what its quote affirms, or the reverse"
    words = telling_words(text, names=sources.speakers)
    unsaid = words - sources.known_words(number)
    if len(words) - len(unsaid) < MIN_SAID * len(words):
        return f"nobody said {', '.join(sorted(unsaid))}"
    return ""


def _candidate(
    fact: Fact, text: str, found: tuple[int, Span] | None, sources: Sources, categories: Mapping[str, str]
) -> Candidate:
    message = sources.numbered[found[0]] if found else sources.numbered.get(fact.message)
    names = {name.casefold(): name for name in categories}
    asked = [names[name.casefold()] for name in fact.categories if name.casefold() in names]
    return Candidate(
        text=text,
        kind=fact.kind,
        grounding=(Grounding(message.id, *found[1]),) if message and found else (),
        speaker=message.speaker if message else None,
        valid_at=parse_valid_at(fact.valid_at, message.said_at) if message else None,
        entities=_entities(fact),
        subject=_said(fact.subject),
        attribute=_said(fact.attribute),
        value=_said(fact.value),
        categories=tuple(dict.fromkeys(asked)),
    )


def parse_valid_at(written: str | None, said_at: datetime) -> datetime | None:
    """A date as a model writes it: ISO, or a year or month alone (its first day); None if it is something
    else.

    A time without a zone is in that of `said_at`.
    """
    text = (written or "").strip()
    if re.fullmatch(r"\d{4}(-\d{2})?", text):
        text += "-01-01" if len(text) == 4 else "-01"
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if not 1 < moment.year < 9999:  # a zone's shift must not leave the calendar
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=said_at.tzinfo)


def _entities(fact: Fact) -> tuple[EntityMention, ...]:
    named = {entity.name.strip().casefold(): entity for entity in fact.entities if entity.name.strip()}
    return tuple(EntityMention(entity.name.strip(), entity.type) for entity in named.values())


def _said(value: str | None) -> str | None:
    return (value or "").strip() or None


def _said_themselves(messages: Sequence[SourceMessage]) -> list[tuple[SourceMessage, list[Span]]]:
    """Messages with blanks for what was rendered, and where that stood; the blank ones left out."""
    kept = []
    for message in messages:
        content, spans = strip_rendered(message.content)
        if message.role != "system" and content.strip():
            kept.append((replace(message, content=content), spans))
    return kept


def _overlaps(span: Span, others: Sequence[Span]) -> bool:
    return any(start < span[1] and span[0] < end for start, end in others)
