"""The official clients, unmodified and of three generations, against a running service."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.serving import ROOT, Service

CLIENTS = ROOT / "tests" / "clients"
OLD_VENV = ROOT / ".venv-mem0-1"
DRIVE_TIMEOUT_S = 180

pytestmark = pytest.mark.slow


def test_it_serves_mem0ai_2(service: Service) -> None:
    drive(service, [sys.executable, "drive_mem0_2.py"], user="client-2")


def test_it_serves_mem0ai_1(service: Service) -> None:
    drive(service, [str(old_python()), "drive_mem0_1.py"], user="client-1")


def test_it_serves_mem0ai_of_npm(service: Service) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    install_node_modules()
    drive(service, [node, "drive_mem0_js.mjs"], user="client-js")


def drive(service: Service, command: list[str], *, user: str) -> None:
    """Runs a driver; every step of its report must have worked."""
    done = subprocess.run(
        [*command, "--host", service.url, "--api-key", service.api_key, "--user", user],
        cwd=CLIENTS,
        capture_output=True,
        text=True,
        timeout=DRIVE_TIMEOUT_S,
    )
    assert done.returncode == 0, done.stderr
    assert all(step["ok"] for step in json.loads(done.stdout).values())


def old_python() -> Path:
    """The interpreter of an environment that holds mem0ai 1.0.x, made on first use."""
    python = OLD_VENV / "bin" / "python"
    if not can_import_mem0(python):
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(OLD_VENV)], check=True)
        install = [str(python), "-m", "pip", "install", "-q", "--no-deps", "-r", str(CLIENTS / "mem0-1.txt")]
        done = subprocess.run(install, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"pip cannot install mem0ai 1.0: {done.stderr.strip()[-300:]}")
    return python


def can_import_mem0(python: Path) -> bool:
    return python.exists() and subprocess.run([str(python), "-c", "import mem0"], capture_output=True).returncode == 0


def install_node_modules() -> None:
    if (CLIENTS / "js" / "node_modules" / "mem0ai").exists():
        return
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed")
    done = subprocess.run([npm, "ci", "--silent"], cwd=CLIENTS / "js", capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"npm cannot install mem0ai: {done.stderr.strip()[-300:]}")
