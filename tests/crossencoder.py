"""A small cross-encoder with random weights, with the bundled embedder's vocabulary: no trained one can be fetched."""

from __future__ import annotations

from pathlib import Path

import torch

from memory_service.embedding import bundled_folder


def make_cross_encoder(folder: Path, *, num_labels: int = 1, layers: int = 2, hidden: int = 32, seed: int = 0) -> Path:
    from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

    tokenizer = AutoTokenizer.from_pretrained(str(bundled_folder()))
    tokenizer.model_max_length = 512
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=2,
        intermediate_size=2 * hidden,
        num_labels=num_labels,
        initializer_range=0.5,  # wide, so that scores differ
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = BertForSequenceClassification(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
