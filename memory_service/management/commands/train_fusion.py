"""`manage.py train_fusion FOLDER`: fits the weights of the learned fusion and writes them with their record."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from django.core.management.base import BaseCommand, CommandError, CommandParser

from memory_service import signals
from memory_service.embedding import embed_texts
from memory_service.fusion import WEIGHTS_FILE
from memory_service.training import corpora, fusion


class Command(BaseCommand):
    help = "Fit the weights of the learned fusion to labelled questions, and write them with the record of the data."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("folder", type=Path, help="with qmsum/, fairytaleqa/ and dialogues/ in it")
        parser.add_argument("--out", type=Path, default=WEIGHTS_FILE)
        parser.add_argument("--l2", type=float, default=fusion.L2)
        parser.add_argument("--seed", type=int, default=0)
        parser.add_argument("--cache", type=Path, help="keep the texts' vectors here, for the next time")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            histories = corpora.read_all(options["folder"], seed=options["seed"])
        except OSError as exc:
            raise CommandError(str(exc)) from exc
        names = (*signals.NAMES, "pseudo_feedback")
        examples: list[fusion.Example] = []
        cache = _Vectors(options["cache"])
        for number, history in enumerate(histories, 1):
            self.stdout.write(f"\r{number}/{len(histories)} histories, {history.corpus}   ", ending="")
            examples.extend(fusion.examples_of(history, cache.embed, names))
        cache.save()
        self.stdout.write("")
        models, record = {}, {}
        for name, used in (("plain", signals.NAMES), ("feedback", names)):
            columns = [names.index(one) for one in used]
            chosen = [fusion.Example(e.corpus, e.signals[:, columns], e.evidence) for e in examples]
            fitted, known = fusion.train(chosen, used, l2=options["l2"])
            models[name], record[name] = fitted.as_record(), known
        counts = {
            corpus: {
                "histories": sum(history.corpus == corpus for history in histories),
                "turns": sum(len(s) for h in histories if h.corpus == corpus for s in h.sessions),
                "questions": sum(e.corpus == corpus and bool(e.evidence.any()) for e in examples),
            }
            for corpus in sorted({history.corpus for history in histories})
        }
        whole = {
            "models": models,
            "record": {
                "command": "manage.py train_fusion FOLDER",
                "seed": options["seed"],
                "l2": options["l2"],
                "data": counts,
                **record,
            },
        }
        options["out"].write_text(json.dumps(whole, indent=1) + "\n")
        self.stdout.write(json.dumps(whole["record"], indent=1))
        self.stdout.write(f"written to {options['out']}")


class _Vectors:
    """Vectors by text, kept in a file between runs where one is named."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.known: dict[str, Any] = {}
        if path and path.exists():
            kept = np.load(path, allow_pickle=False)
            self.known = dict(zip(kept["texts"].tolist(), kept["vectors"], strict=True))

    def embed(self, texts: Any) -> Any:
        missing = sorted(set(texts) - self.known.keys())
        if missing:
            self.known.update(zip(missing, embed_texts(missing), strict=True))
        return np.stack([self.known[text] for text in texts])

    def save(self) -> None:
        if self.path:
            np.savez(self.path, texts=np.array(list(self.known)), vectors=np.stack(list(self.known.values())))
