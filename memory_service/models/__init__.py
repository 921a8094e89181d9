"""Tables, their constraints and their chainable queries."""

from .change import ScopeChange
from .conversation import CompletionUsage, Event, EventStatus, Message, Scope, Session
from .embedding import Embedding, EmbeddingProfile
from .knowledge import EntityAlias, EntityEmbedding, EntityMerge, GraphState, Relation, RelationSource
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
from .receipt import ForgettingReceipt
from .tenancy import ApiKey, ExtractionPolicy, Membership, Organisation, Project
from .timeline import Assertion, Review

__all__ = [
    "ApiKey",
    "Assertion",
    "CompletionUsage",
    "Embedding",
    "EmbeddingProfile",
    "Entity",
    "EntityAlias",
    "EntityEmbedding",
    "EntityMerge",
    "Event",
    "EventStatus",
    "ExtractionPolicy",
    "ForgettingReceipt",
    "GraphState",
    "Membership",
    "Memory",
    "MemoryEntity",
    "MemoryRevision",
    "MemorySource",
    "MemoryState",
    "Message",
    "Organisation",
    "Posting",
    "Project",
    "Relation",
    "RelationSource",
    "Review",
    "Scope",
    "ScopeChange",
    "Session",
    "hash_text",
]
