"""Every strategy by its name, with what it needs: the one table behind the API, the evaluation and the benchmark."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .tokens import Tokenize
from .types import Choose, Chunk, Embed, Losses

Split = Callable[..., list[Chunk]]


@dataclass(frozen=True, slots=True)
class Models:
    """What strategies may ask for. A strategy whose models are missing is refused with their names.

    embed: texts -> unit vectors. tokenize: text -> starts of its tokens (an estimate without it).
    losses: a causal language model. choose: what it thinks of two answers. complete: a prompt -> a model's answer.
    """

    embed: Embed | None = None
    tokenize: Tokenize | None = None
    losses: Losses | None = None
    choose: Choose | None = None
    complete: Callable[[str], str] | None = None


@dataclass(frozen=True, slots=True)
class Strategy:
    """Where a strategy's function lives, and which fields of Models it takes by keyword.

    needs: without these it is refused. uses: handed over where they are there.
    """

    name: str
    function: str  # "module:function" in this package
    description: str
    needs: tuple[str, ...] = ()
    uses: tuple[str, ...] = ("tokenize",)

    def load(self) -> Split:
        module, _, name = self.function.partition(":")
        split: Split = getattr(importlib.import_module(f"{__package__}.{module}"), name)
        return split


_ALL_MODELS = ("tokenize", "embed", "losses", "choose", "complete")  # for strategies that call others

STRATEGIES: dict[str, Strategy] = {
    strategy.name: strategy
    for strategy in (
        # of text and structure
        Strategy("fixed", "fixed:split_fixed", "a fixed number of tokens, with or without overlap"),
        Strategy("sentence", "by_sentence:split_by_sentence", "as many whole sentences as fit"),
        Strategy("recursive", "recursive:split_recursive", "paragraphs, else lines, sentences, clauses, words"),
        Strategy("markdown", "markdown:split_markdown", "sections of Markdown, with the path of their headings"),
        Strategy("html", "html:split_html", "sections of HTML by its elements, in the original text"),
        Strategy("code", "code:split_code", "functions and classes of source code, by its syntax tree"),
        Strategy("conversation", "conversation:split_conversation", "turns of a conversation, with their speakers"),
        Strategy(
            "hierarchical",
            "hierarchical:split_hierarchical",
            "chunks of another strategy, and larger parents around them",
            uses=_ALL_MODELS,
        ),
        Strategy(
            "auto",
            "auto:split_auto",
            "Markdown, HTML, code, conversation or text (by balanced), by name and looks",
            uses=("embed", "tokenize"),
        ),
    )
}


def split(
    text: str, strategy: str, *, models: Models | None = None, options: Mapping[str, Any] | None = None
) -> list[Chunk]:
    """The text's chunks by the named strategy; options go to its function by keyword.

    Raises ValueError for a name that is not known (the names are told), models that are missing, and bad options.
    """
    known = STRATEGIES.get(strategy)
    if known is None:
        raise ValueError(f"strategy={strategy!r} is not known: one of {', '.join(sorted(STRATEGIES))}")
    models = models or Models()
    missing = [name for name in known.needs if getattr(models, name) is None]
    if missing:
        raise ValueError(f"strategy={strategy!r} needs {', '.join(missing)}, which this service has not configured")
    given = {name: getattr(models, name) for name in (*known.needs, *known.uses)}
    function = known.load()
    try:
        call = inspect.signature(function).bind(text, **given, **(options or {}))
    except TypeError as exc:
        raise ValueError(f"strategy={strategy!r}: {exc}") from exc
    return function(*call.args, **call.kwargs)


_OF_MODELS = (
    Strategy(
        "balanced",
        "balanced:split_balanced",
        "near one size, ending where a paragraph ends or the text turns: the default for text",
        needs=("embed",),
    ),
    Strategy(
        "semantic",
        "semantic:split_semantic",
        "cuts where neighbouring sentences are least alike",
        needs=("embed",),
    ),
    Strategy(
        "cluster_semantic",
        "cluster_semantic:split_cluster_semantic",
        "the segmentation of the whole document that keeps alike pieces together best",
        needs=("embed",),
    ),
    Strategy(
        "segmentation",
        "segmentation:split_segmentation",
        "cuts where a trained model doubts that two sentences belong together (SAGE)",
        needs=("embed",),
    ),
    Strategy(
        "perplexity",
        "perplexity:split_perplexity",
        "a chunk ends with the sentence that a language model found easiest (Meta-Chunking)",
        uses=("losses", "tokenize"),
    ),
    Strategy(
        "margin",
        "margin:split_margin",
        "a language model is asked, sentence by sentence, whether to split or to keep (Meta-Chunking)",
        needs=("choose",),
    ),
    Strategy(
        "dynamic_merge",
        "dynamic_merge:split_dynamic_merge",
        "the chunks of another strategy (base) put together up to a length",
        uses=("embed", "losses", "choose", "complete", "tokenize"),
    ),
    Strategy(
        "intents",
        "intents:split_intents",
        "the segmentation that answers best what readers may ask (Intent-Driven Dynamic Chunking)",
        needs=("embed",),
        uses=("complete", "tokenize"),
    ),
    Strategy(
        "qchunker",
        "qchunker:split_qchunker",
        "of the segmentations of other strategies, the one that ChunkScore picks (QChunker)",
        needs=("embed",),
        uses=("losses", "choose", "complete", "tokenize"),
    ),
)
STRATEGIES.update({strategy.name: strategy for strategy in _OF_MODELS})
