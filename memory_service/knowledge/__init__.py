"""The knowledge graph of a scope: who and what its memories name, and how they are related.

statements  what one memory says, in the graph's terms; pure
recording   writes what new memories say; closes what rested on memories that ended
asking      relations and conflicts by a language model
merging     entities that are one: names' vectors, merges and their undoing
graphs      the graph of scopes, kept per process and brought up to date in place
anchors     a question -> the entities that it names
walking     a question -> memories, by a walk from those
search      a question -> relations; entities and graphs of a filter (imported by its name: it stands above retrieval)
"""

from .graphs import graph_of
from .recording import close_unsupported, forget_memories, forget_scope, raise_version, record

__all__ = [
    "close_unsupported",
    "forget_memories",
    "forget_scope",
    "graph_of",
    "raise_version",
    "record",
]
