"""The rules that keep the packages apart."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PURE = ("chunking", "graph", "accel")
STAGES = (
    *("ingest", "consolidation", "retrieval", "editing", "embedding", "llm", "storage", "lexical", "filters"),
    *("evidence", "extractive_answer", "answering", "chat", "context", "expansion", "refining", "project_llm"),
    *("documents", "document_stages", "document_storage", "document_search"),
)


def modules(package: str) -> list[str]:
    files = sorted((ROOT / package).rglob("*.py"))
    return [".".join(f.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for f in files]


@pytest.mark.parametrize("package", PURE)
def test_it_keeps_the_libraries_free_of_django_and_of_each_other(package: str) -> None:
    others = [name for name in PURE if name != package]
    code = f"""
import importlib, sys
for name in {modules(package)!r}: importlib.import_module(name)
print([m for m in sys.modules if m.split('.')[0] in {["django", "memory_service", *others]!r}])
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_it_starts_without_torch_and_litellm() -> None:
    code = """
import sys, django
django.setup()
import memory_service.urls, memory_service.tasks
print([m for m in ('torch', 'litellm', 'transformers') if m in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("stage", STAGES)
def test_it_lets_no_stage_import_what_stands_above_it(stage: str) -> None:
    tree = ast.parse((ROOT / "memory_service" / f"{stage}.py").read_text())
    above = {"tasks", "api", "frontend", "management", "rest_framework", "celery"}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            names = {(node.module or "").split(".")[0], *(alias.name for alias in node.names if node.level)}
        elif isinstance(node, ast.Import):
            names = {alias.name.split(".")[0] for alias in node.names}
        else:
            continue
        assert not names & above, f"{stage} imports {names & above}"
