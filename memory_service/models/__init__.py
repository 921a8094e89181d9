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
from .tenancy import ApiKey, ExtractionPolicy, Membership, Organisation, Project

__all__ = [
    "ApiKey",
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
    "Scope",
    "ScopeChange",
    "Session",
    "hash_text",
]
