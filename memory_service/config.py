"""The environment, read once and refused by name where it is wrong."""

from __future__ import annotations

import os
import secrets
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured
from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

CommaSeparated = Annotated[tuple[str, ...], NoDecode]

DATABASE_SCHEMES = ("postgresql", "postgres")
BROKER_SCHEMES = ("redis", "rediss", "redis+socket", "amqp", "amqps")


class Environment(BaseSettings):
    """Every variable the service reads. An empty string counts as unset."""

    model_config = SettingsConfigDict(env_ignore_empty=True, extra="ignore")

    secret_key: str = ""
    debug: bool = False
    secure: bool = False
    allowed_hosts: CommaSeparated = ()
    csrf_trusted_origins: CommaSeparated = ()

    data_dir: Path = Path(".data")
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=1, le=65535)
    mcp_port: int | None = Field(default=None, ge=0, le=65535)
    memory_api_key: str = ""
    web_workers: int = Field(default=2, ge=1, le=64)
    web_threads: int = Field(default=8, ge=1, le=64)
    worker_concurrency: int = Field(default=2, ge=1, le=256)
    load_sample: bool = True

    database_url: str = ""
    database_pool: bool = True
    celery_broker_url: str = ""

    search_cache_mb: int = Field(default=256, ge=0, le=1_000_000)

    graph_backend: str = ""

    embedding_model: str = "all-MiniLM-L6-v2"
    embedding_dtype: Literal["auto", "float32", "bfloat16"] = "auto"

    rerank_model: str = ""
    rerank_dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    rerank_candidates: int = Field(default=50, ge=1, le=1_000)

    chunking_lm: str = ""

    llm_model: str = ""
    llm_api_base: str = ""
    llm_api_key: str = ""
    chat_models: CommaSeparated = ()
    llm_timeout_s: float = Field(default=60.0, gt=0, le=600)
    tokenizers_dir: str = ""

    webhook_allow_private: bool = False

    max_message_chars: int = Field(default=200_000, ge=1_000, le=1_000_000)
    document_max_mb: int = Field(default=50, ge=1, le=2_000)
    document_max_pages: int = Field(default=5_000, ge=1, le=1_000_000)
    document_max_chars: int = Field(default=20_000_000, ge=1_000, le=1_000_000_000)
    document_parser_mb: int = Field(default=1_024, ge=256, le=65_536)
    document_timeout_s: float = Field(default=300.0, gt=0, le=86_400)
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["json", "text"] = "json"
    forgetting_receipts: Literal["hash", "name"] = "hash"

    @field_validator("allowed_hosts", "csrf_trusted_origins", "chat_models", mode="before")
    @classmethod
    def split_commas(cls, value: Any) -> Any:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @property
    def effective_mcp_port(self) -> int:
        """Where `make run` has the MCP server listen: beside PORT, if nothing else is said; 0: nowhere."""
        if self.mcp_port is not None:
            return self.mcp_port
        return self.port + 1 if self.port < 65535 else self.port - 1

    @field_validator("data_dir")
    @classmethod
    def make_absolute(cls, value: Path) -> Path:
        return value.expanduser().resolve()

    @field_validator("log_level", mode="before")
    @classmethod
    def upper(cls, value: Any) -> Any:
        return value.upper() if isinstance(value, str) else value

    @field_validator("database_url")
    @classmethod
    def check_database(cls, value: str) -> str:
        return _check_scheme(value, DATABASE_SCHEMES)

    @field_validator("graph_backend")
    @classmethod
    def check_backend(cls, value: str) -> str:
        installed = sorted({entry.name for entry in entry_points(group="networkx.backends")} - {"nx_loopback"})
        if value and value not in installed:
            raise ValueError(f"no such networkx backend is installed; there are {', '.join(installed) or 'none'}")
        return value

    @field_validator("celery_broker_url")
    @classmethod
    def check_broker(cls, value: str) -> str:
        return _check_scheme(value, BROKER_SCHEMES)


def _check_scheme(url: str, accepted: tuple[str, ...]) -> str:
    if url and urlsplit(url).scheme not in accepted:
        raise ValueError(f"a URL that starts with one of {', '.join(s + '://' for s in accepted)} is accepted")
    return url


def read_environment() -> Environment:
    """Raises ImproperlyConfigured, naming each bad variable, its value and what is accepted."""
    try:
        return Environment()
    except ValidationError as exc:
        raise ImproperlyConfigured("; ".join(_describe(error) for error in exc.errors())) from exc


SECRET_VARIABLES = {"SECRET_KEY", "LLM_API_KEY", "MEMORY_API_KEY", "DATABASE_URL", "CELERY_BROKER_URL"}


def _describe(error: Any) -> str:
    name = str(error["loc"][0]).upper()
    shown = "(hidden)" if name in SECRET_VARIABLES else repr(str(error["input"]))
    return f"{name}={shown} is refused: {error['msg'].removeprefix('Value error, ')}"


def read_or_make_secret(path: Path) -> str:
    """A secret kept in a file of its own (mode 0600), made on first use."""
    if path.exists():
        return path.read_text().strip()
    path.parent.mkdir(parents=True, exist_ok=True)
    secret = secrets.token_urlsafe(50)
    write_private(path, secret)
    return secret


def write_private(path: Path, text: str) -> None:
    """Writes so that no other user can read it, not even for a moment."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text + "\n")
