"""What extraction takes and gives: plain values, no tables."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

Kind = Literal["episodic", "semantic", "procedural"]
# Of a statement. holds: true from its time on. ended: what held stopped at that time, and does not hold since.
# never: it is not so and was not when it was said that it was.
Polarity = Literal["holds", "ended", "never"]


@dataclass(frozen=True, slots=True)
class SourceMessage:
    """One message as it was said. `said_at` is aware; `name` is the speaker's, where it is known."""

    id: int
    role: Literal["user", "assistant", "system"]
    content: str
    said_at: datetime
    name: str | None = None

    @property
    def speaker(self) -> str:
        return self.name or {"user": "User", "assistant": "Assistant", "system": "System"}[self.role]


@dataclass(frozen=True, slots=True)
class Grounding:
    """The characters of a message that a memory rests on: `content[start:end]`."""

    message_id: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class EntityMention:
    """A person, place, organisation, thing or event that a memory names."""

    name: str
    type: Literal["person", "place", "organisation", "thing", "event", "date", "other"] = "other"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A memory before consolidation.

    text reads on its own. part: 0, 1, ... when one long message gives several episodic memories, in order.
    valid_at: when it became true in the world (for a plan or an event: when it happens), if the text says.
    subject, attribute, value: the statement in three, where it is one ("Caroline", "lives in", "Oslo"). The value
    is None where a statement ends whatever it was ("Caroline quit her job").
    single: whether the attribute holds one value at a time; None: as attributes.py says, and else it does not.
    corrects: it takes back what was said before, which was wrong and not outlived ("Actually, it is Hanna").
    instead_of: the words it takes back, where it says ("Tuesday, not Monday"). With these alone (no subject),
    consolidation looks for the statement that held them.
    silent: it ends something and is not to be remembered itself, as another candidate says it.
    turn: it stands for its whole message, which is remembered through it alone. utterance: the message as an
    episodic memory would have it, should it be needed after all.
    """

    text: str
    kind: Kind
    grounding: tuple[Grounding, ...]
    speaker: str | None = None
    part: int = 0
    valid_at: datetime | None = None
    entities: tuple[EntityMention, ...] = ()
    subject: str | None = None
    attribute: str | None = None
    value: str | None = None
    polarity: Polarity = "holds"
    single: bool | None = None
    valid_until: datetime | None = None
    corrects: bool = False
    instead_of: str | None = None
    silent: bool = False
    turn: bool = False
    utterance: str | None = None
    categories: tuple[str, ...] = ()
    confidence: float = 1.0


@dataclass(frozen=True, slots=True)
class Usage:
    """What one completion cost. cost_usd is None where the model's price is unknown."""

    model: str
    purpose: str
    prompt_tokens: int
    completion_tokens: int
    latency_ms: float
    cost_usd: float | None = None


@dataclass(slots=True)
class Extraction:
    """candidates go on to consolidation; quarantined are stored but never returned."""

    candidates: list[Candidate] = field(default_factory=list)
    quarantined: list[Candidate] = field(default_factory=list)
    usage: list[Usage] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # e.g. "LLM answered malformed JSON twice; used the local path"
