"""The knowledge graph of a scope: who and what its memories name, and how they are related.

statements.py reads a memory, recording.py writes what it says.
"""

from .recording import close_unsupported, raise_version, record

__all__ = ["close_unsupported", "raise_version", "record"]
