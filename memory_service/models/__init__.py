"""Tables, their constraints and their chainable queries."""

from .answers import Answer
from .change import ScopeChange
from .context import ContextLedger
from .conversation import CompletionUsage, Event, EventStatus, Message, Scope, Session
from .documents import (
    Chunking,
    ChunkTerm,
    Document,
    DocumentBlob,
    DocumentChunk,
    DocumentChunking,
    DocumentContent,
    DocumentPage,
    DocumentVersion,
    Passage,
    PassageEmbedding,
)
from .embedding import Embedding, EmbeddingProfile
from .evaluation import EvaluationCorpus, EvaluationRun, EvaluationScore, EvaluationStatus
from .knowledge import EntityAlias, EntityEmbedding, EntityMerge, GraphState, Relation, RelationSource
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
from .receipt import ForgettingReceipt
from .tenancy import ApiKey, ExtractionPolicy, Membership, Organisation, Project
from .timeline import Assertion, Review

__all__ = [
    "Answer",
    "ApiKey",
    "Assertion",
    "Budget",
    "ChunkTerm",
    "Chunking",
    "CompletionUsage",
    "ContextLedger",
    "Document",
    "DocumentBlob",
    "DocumentChunk",
    "DocumentChunking",
    "DocumentContent",
    "DocumentPage",
    "DocumentVersion",
    "Embedding",
    "EmbeddingProfile",
    "Entity",
    "EntityAlias",
    "EntityEmbedding",
    "EntityMerge",
    "EntityRecord",
    "EvaluationCorpus",
    "EvaluationRun",
    "EvaluationScore",
    "EvaluationStatus",
    "Event",
    "EventStatus",
    "ExtractionPolicy",
    "ForgettingReceipt",
    "GraphState",
    "IdempotencyKey",
    "ImportJob",
    "ImportLine",
    "JobStatus",
    "LifecycleSettings",
    "Membership",
    "Memory",
    "MemoryEntity",
    "MemoryExport",
    "MemoryRecall",
    "MemoryRevision",
    "MemorySource",
    "MemoryState",
    "Message",
    "Organisation",
    "OrganisationMembership",
    "Passage",
    "PassageEmbedding",
    "Posting",
    "Profile",
    "Project",
    "ProjectDeletion",
    "Relation",
    "RelationSource",
    "Review",
    "Scope",
    "ScopeChange",
    "Session",
    "SummaryNode",
    "Webhook",
    "WebhookDelivery",
    "hash_text",
]
