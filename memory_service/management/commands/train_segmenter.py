from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from chunking.segmentation import FEATURES, RECORD_FILE, WEIGHTS_FILE, SegmentationModel, read_model
from memory_service.embedding import embed_texts
from memory_service.training import segmentation
from memory_service.training.segmentation import Pairs, Part

LICENCES = {"books": "public domain", "fairytaleqa": "Apache-2.0, stories in the public domain", "qmsum": "MIT"}


class Command(BaseCommand):
    help = "Fit the model that tells whether two sentences belong to one chunk, and write it with its record."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("folders", type=Path, nargs="+", help="books, FairytaleQA, QMSum; a folder each")
        parser.add_argument("--out", type=Path, default=WEIGHTS_FILE, help="its record is written beside it, as .json")
        parser.add_argument("--hidden", type=int, default=segmentation.HIDDEN)
        parser.add_argument("--epochs", type=int, default=segmentation.EPOCHS)
        far = segmentation.FAR_SHARE
        parser.add_argument("--far-share", type=float, default=far, help="pairs of distant sentences, for each pair")
        parser.add_argument("--features", choices=FEATURES, help="default: the ones that are better on the validation")
        parser.add_argument("--seed", type=int, default=0)
        parser.add_argument("--cache", type=Path, help="keep the sentences' vectors here, for the next time")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["out"].suffix != ".npz":
            raise CommandError(f"--out {options['out']} must end in .npz")
        try:
            runs = segmentation.read_all(options["folders"], seed=options["seed"])
        except (OSError, ValueError, KeyError) as exc:
            raise CommandError(f"the data cannot be read: {exc}") from exc
        vectors = _Vectors(options["cache"], [sentence for run in runs for sentence in run.sentences])

        def pairs_of(part: Part) -> Pairs:
            chosen = [run for run in runs if run.part == part]
            return segmentation.to_pairs(chosen, vectors.embed, far_share=options["far_share"], seed=options["seed"])

        train, valid, test = pairs_of("train"), pairs_of("valid"), pairs_of("test")
        settings_ = {name: options[name] for name in ("hidden", "epochs", "seed")}
        fitted: dict[str, tuple[SegmentationModel, int]] = {}
        for features in [options["features"]] if options["features"] else FEATURES:
            fitted[features] = segmentation.train(train, valid, features=features, **settings_)
            self.stdout.write(f"{features}: valid {segmentation.mean_auc(fitted[features][0], valid):.4f}")
        best = max(fitted, key=lambda name: segmentation.mean_auc(fitted[name][0], valid))
        fitted[best][0].save(options["out"])
        model = read_model(options["out"])  # as it will be used: float16
        record = {
            "command": "manage.py train_segmenter FOLDER...",
            "embedding_model": settings.ENV.embedding_model,
            "dimensions": model.dimensions,
            "features": best,
            **settings_,
            "far_share": options["far_share"],
            "epoch": fitted[best][1],
            "threshold": round(segmentation.best_threshold(model, valid), 4),
            "bytes": options["out"].stat().st_size,
            "data": {
                corpus: {
                    "licence": LICENCES.get(corpus, "the operator's own"),
                    "documents": {
                        part: len({run.document for run in runs if (run.corpus, run.part) == (corpus, part)})
                        for part in ("train", "valid", "test")
                    },
                    "pairs": {
                        "train": len(train.of(corpus).labels),
                        "test": len(test.of(corpus).labels),
                        "test boundaries": int((test.of(corpus).labels == 0).sum()),
                    },
                }
                for corpus in sorted({run.corpus for run in runs})
            },
            "auc_valid": {name: _rounded(segmentation.aucs(one, valid)) for name, (one, _) in fitted.items()},
            "auc_test": _rounded(segmentation.aucs(model, test)),
            "auc_test_cosine": _rounded(segmentation.cosine_aucs(test)),
        }
        beside = RECORD_FILE if options["out"] == WEIGHTS_FILE else options["out"].with_suffix(".json")
        beside.write_text(json.dumps(record, indent=1) + "\n")
        self.stdout.write(json.dumps(record, indent=1))


def _rounded(values: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in values.items()}


class _Vectors:
    """Vectors by sentence, kept in a file between runs where one is named."""

    def __init__(self, path: Path | None, sentences: Sequence[str]) -> None:
        self.known: dict[str, Any] = {}
        if path and path.exists():
            kept = np.load(path, allow_pickle=False)
            self.known = dict(zip(kept["texts"].tolist(), kept["vectors"], strict=True))
        missing = sorted(set(sentences) - self.known.keys())
        if missing:
            self.known.update(zip(missing, embed_texts(missing), strict=True))
            if path:
                np.savez(path, texts=np.array(list(self.known)), vectors=np.stack(list(self.known.values())))

    def embed(self, texts: Sequence[str]) -> Any:
        return np.stack([self.known[text] for text in texts])
