"""What a process keeps of the documents it has searched, so that the next question need not read them again.

A set of documents (whatever one filter lets through) is kept from the second question on, under the versions of its
scopes (models/change.py). A version that has moved means that the list is read again; the vectors of the texts that
did not change are kept even then. The least recently used go when SEARCH_CACHE_MB is full.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from . import caches
from .embedding import Vectors
from .traits import Traits
from .windows import Windows

MAX_REMEMBERED = 4_096  # keys that were asked once
MAX_SCOPES = 1_000  # of one search; above, reading their versions costs more than it saves

Ids = NDArray[np.int64]
Versions = dict[int, int]


@dataclass(frozen=True, slots=True)
class Documents:
    """What may be returned, in the order of sessions and turns. `linked[i]`: i + 1 follows i in its session.

    by_id: the rows in the order of their ids. text_versions: with the id, what names a text and so a vector.
    """

    ids: Ids
    num_terms: NDArray[np.float64]
    text_versions: Ids
    linked: NDArray[np.bool_]
    by_id: Ids
    traits: Traits
    session: Ids  # (N,) numbered from 0; what has none is one of its own
    num_sessions: int
    windows: Windows

    def rows_of(self, ids: Ids) -> tuple[Ids, NDArray[np.bool_]]:
        """(rows, known): where each id stands; rows are meaningful where known is true."""
        if not len(self.ids):
            return np.zeros(len(ids), np.int64), np.zeros(len(ids), np.bool_)
        at = np.minimum(np.searchsorted(self.ids, ids, sorter=self.by_id), len(self.ids) - 1)
        rows = self.by_id[at]
        return rows, self.ids[rows] == ids

    @property
    def num_bytes(self) -> int:
        arrays = (self.ids, self.num_terms, self.text_versions, self.linked, self.by_id, self.session)
        return sum(array.nbytes for array in arrays) + self.traits.num_bytes + self.windows.num_bytes


@dataclass(frozen=True, slots=True)
class Entry:
    versions: Versions
    documents: Documents
    vectors: Vectors | None = None  # (N, D), the row of each document; zeros where it has none

    @property
    def num_bytes(self) -> int:
        return self.documents.num_bytes + (self.vectors.nbytes if self.vectors is not None else 0)


class SearchCache:
    """Entries by key, the least recently used dropped above max_bytes. Safe to share between threads.

    A key holds the names that a filter holds. What is not used from one sweep to the next (caches.py) is dropped.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.num_bytes = 0
        self._entries: OrderedDict[Hashable, Entry] = OrderedDict()
        self._asked: OrderedDict[Hashable, None] = OrderedDict()
        self._used: set[Hashable] = set()  # since the last sweep
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> Entry | None:
        with self._lock:
            entry = self._entries.get(key)
            if entry is not None:
                self._entries.move_to_end(key)
                self._used.add(key)
            return entry

    def put(self, key: Hashable, entry: Entry) -> None:
        """An entry larger than the whole cache is not kept."""
        with self._lock:
            self._drop(key)
            if entry.num_bytes > self.max_bytes:
                return
            self._entries[key] = entry
            self._used.add(key)
            self.num_bytes += entry.num_bytes
            while self.num_bytes > self.max_bytes:
                self._drop(next(iter(self._entries)))

    def asked_before(self, key: Hashable) -> bool:
        """Whether this was asked with the same key before; remembers that it is asked now."""
        caches.arm()
        with self._lock:
            known = key in self._asked or key in self._entries
            self._used.add(key)
            self._asked[key] = None
            self._asked.move_to_end(key)
            if len(self._asked) > MAX_REMEMBERED:
                self._asked.popitem(last=False)
            return known

    def sweep(self, everything: bool) -> bool:
        """Drops what has not been used since the last sweep, or all. Returns whether something is left."""
        with self._lock:
            kept = set() if everything else self._used
            for key in [key for key in self._entries if key not in kept]:
                self._drop(key)
            for key in [key for key in self._asked if key not in kept]:
                del self._asked[key]
            self._used = set()
            return bool(self._entries or self._asked)

    def _drop(self, key: Hashable) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self.num_bytes -= entry.num_bytes


def fill_vectors(
    documents: Documents, stale: Entry | None, fetch: Callable[[Sequence[int]], tuple[Ids, Vectors]]
) -> Vectors:
    """(N, D): from the entry that went out of date where the text is the same, the rest through `fetch`.

    fetch: memory ids -> (the ids that have a vector, their vectors (M, D)).
    """
    kept_rows = np.zeros(0, np.int64)
    kept = np.zeros((0, 0), np.float32)
    missing = np.ones(len(documents.ids), np.bool_)
    if stale is not None and stale.vectors is not None:
        old_rows, known = stale.documents.rows_of(documents.ids)
        known &= stale.documents.text_versions[old_rows] == documents.text_versions if len(old_rows) else known
        kept_rows, kept = np.flatnonzero(known), stale.vectors[old_rows[known]]
        missing = ~known
        missing[kept_rows[~kept.any(axis=1)]] = True  # it had none then
    found, fetched = fetch(documents.ids[missing].tolist()) if missing.any() else (np.zeros(0, np.int64), kept[:0])
    vectors = np.zeros((len(documents.ids), max(kept.shape[1], fetched.shape[1])), np.float32)
    if len(kept_rows):
        vectors[kept_rows] = kept
    if len(found):
        rows, known = documents.rows_of(found)
        vectors[rows[known]] = fetched[known]
    return vectors
