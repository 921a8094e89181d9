"""Tables, their constraints and their chainable queries."""

from .change import ScopeChange
from .conversation import CompletionUsage, Event, EventStatus, Message, Scope, Session
from .embedding import Embedding, EmbeddingProfile
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
from .platform import (
    EntityRecord,
    ImportJob,
    ImportLine,
    JobStatus,
    MemoryExport,
    OrganisationMembership,
    ProjectDeletion,
    Webhook,
    WebhookDelivery,
)
from .tenancy import ApiKey, ExtractionPolicy, Membership, Organisation, Project

__all__ = [
    "ApiKey",
    "CompletionUsage",
    "Embedding",
    "EmbeddingProfile",
    "Entity",
    "EntityRecord",
    "Event",
    "EventStatus",
    "ExtractionPolicy",
    "ImportJob",
    "ImportLine",
    "JobStatus",
    "Membership",
    "Memory",
    "MemoryEntity",
    "MemoryExport",
    "MemoryRevision",
    "MemorySource",
    "MemoryState",
    "Message",
    "Organisation",
    "OrganisationMembership",
    "Posting",
    "Project",
    "ProjectDeletion",
    "Scope",
    "ScopeChange",
    "Session",
    "Webhook",
    "WebhookDelivery",
    "hash_text",
]
