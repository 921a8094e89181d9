"""What can be known about the deployment files without a container engine."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from memory_service.config import Environment

ROOT = Path(__file__).resolve().parent.parent
COMPOSE_TEXT = (ROOT / "docker-compose.yml").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load(COMPOSE_TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name for name, service in SERVICES.items() if "build" in service}
ONE_SHOT = {name for name, service in SERVICES.items() if service["restart"] == "no"}
SETTINGS = {name.upper() for name in Environment.model_fields}


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile as (instruction, arguments), continuation lines joined."""
    lines = [line for line in (ROOT / "Dockerfile").read_text().splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in joined.splitlines() if line]


def example_variables() -> dict[str, str]:
    lines = (ROOT / ".env.example").read_text().splitlines()
    pairs = [line.partition("=") for line in lines if line and not line.startswith("#")]
    return {name: value for name, _, value in pairs}


def test_it_has_the_services_that_the_readme_names() -> None:
    assert set(SERVICES) == {"db", "valkey", "migrate", "web", "mcp", "worker", "beat", "worker-gpu"}
    assert set(SERVICES) - {"db", "valkey"} == OURS
    assert len({SERVICES[name]["image"] for name in OURS}) == 1


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_it_checks_the_health_of_what_keeps_running(name: str) -> None:
    if name in ONE_SHOT:
        assert SERVICES[name]["healthcheck"] == {"disable": True}
    else:
        assert SERVICES[name]["healthcheck"]["test"]
        assert SERVICES[name]["restart"] == "unless-stopped"
    assert {"migrate"} == ONE_SHOT


def test_it_publishes_the_ports_of_web_and_mcp_alone_and_on_loopback() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert set(published) == {"web", "mcp"}
    assert all(port.startswith("127.0.0.1:") for ports in published.values() for port in ports)
    assert not any("network_mode" in service for service in SERVICES.values())


def test_it_keeps_the_gpu_worker_behind_its_profile() -> None:
    assert [name for name, service in SERVICES.items() if "profiles" in service] == ["worker-gpu"]
    gpu = SERVICES["worker-gpu"]
    assert gpu["profiles"] == ["gpu"]
    assert any(part.startswith("--queues=gpu") for part in gpu["command"])
    assert gpu["deploy"]["resources"]["reservations"]["devices"][0]["capabilities"] == ["gpu"]


def test_it_starts_nothing_of_ours_before_the_migrations() -> None:
    for name in OURS - ONE_SHOT:
        assert SERVICES[name]["depends_on"]["migrate"]["condition"] == "service_completed_successfully"
        assert SERVICES[name]["depends_on"]["db"]["condition"] == "service_healthy"


def test_it_gives_our_containers_no_more_than_they_need() -> None:
    for name in OURS:
        assert SERVICES[name]["read_only"] is True
        assert SERVICES[name]["cap_drop"] == ["ALL"]
        assert not SERVICES[name].get("privileged")


def test_it_sets_only_variables_that_the_settings_read() -> None:
    assert set(SERVICES["web"]["environment"]) <= SETTINGS


def test_it_has_no_secret_of_its_own() -> None:
    required = set(re.findall(r"\$\{(\w+):\?", COMPOSE_TEXT))
    assert required == {"SECRET_KEY", "POSTGRES_PASSWORD"}
    assert all(example_variables()[name] == "" for name in required)


def test_it_builds_an_image_that_is_not_root() -> None:
    last, user = instructions()[-1]
    assert last == "USER"
    assert user == "10001:10001"


def test_it_copies_only_what_is_there_and_not_ignored() -> None:
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {
        source
        for instruction, arguments in instructions()
        if instruction == "COPY" and not arguments.startswith("--from")
        for source in arguments.split()[:-1]
    }
    assert copied == kept
    assert [path for path in copied if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("name", sorted(example_variables()))
def test_it_explains_only_variables_that_something_reads(name: str) -> None:
    assert name in SETTINGS or re.search(rf"\b{name}\b", COMPOSE_TEXT)


def test_it_explains_every_variable_that_the_compose_file_reads() -> None:
    assert set(re.findall(r"\$\{(\w+)", COMPOSE_TEXT)) <= set(example_variables())
