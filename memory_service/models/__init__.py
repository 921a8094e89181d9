"""Tables, their constraints and their chainable queries."""

from .change import ScopeChange
from .conversation import CompletionUsage, Event, EventStatus, Message, Scope, Session
from .embedding import Embedding, EmbeddingProfile
from .life import Budget, IdempotencyKey, LifecycleSettings, MemoryRecall, Profile, SummaryNode
from .memory import (
    Entity,
    Memory,
    MemoryEntity,
    MemoryRevision,
    MemorySource,
    MemoryState,
    Posting,
    hash_text,
)
from .tenancy import ApiKey, ExtractionPolicy, Membership, Organisation, Project

__all__ = [
    "ApiKey",
    "Budget",
    "CompletionUsage",
    "Embedding",
    "EmbeddingProfile",
    "Entity",
    "Event",
    "EventStatus",
    "ExtractionPolicy",
    "IdempotencyKey",
    "LifecycleSettings",
    "Membership",
    "Memory",
    "MemoryEntity",
    "MemoryRecall",
    "MemoryRevision",
    "MemorySource",
    "MemoryState",
    "Message",
    "Organisation",
    "Posting",
    "Profile",
    "Project",
    "Scope",
    "ScopeChange",
    "Session",
    "SummaryNode",
    "hash_text",
]
