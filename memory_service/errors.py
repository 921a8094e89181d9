"""Every error the service raises on purpose.

    ServiceError
    ├── InvalidInput          400  the request cannot be understood; nothing was written
    ├── Unauthorized          401  no key, or one that opens nothing
    ├── Forbidden             403  the key may not do this
    ├── NotFound              404  no such thing, or not in this project
    ├── Conflict              409  true of the data as it is: immutable, duplicate
    ├── TooLarge              413  over a limit that the message names
    ├── UnsupportedMedia      415  a file of a kind that is not read
    ├── TooSoon               429  the same was asked for a moment ago
    └── LLMError                   the language model gave no usable answer
        ├── LLMUnavailable         time-out, 429, 5xx, connection lost: try again later
        ├── LLMRejected            bad key, unknown model, refused: trying again will not help
        ├── LLMMalformed           it answered, but not in the form asked for, even when shown the fault
        └── BudgetExhausted   402  the project has spent what it may: not asked at all

`permanent` tells a task whether to retry. Libraries (chunking, graph, accel) raise ValueError.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from memory_service.extraction.types import Usage


class ServiceError(Exception):
    """Base of the tree. The message is written for the person who has to act on it."""

    status = 500
    permanent = True


class InvalidInput(ServiceError):
    status = 400


class Unauthorized(ServiceError):
    status = 401


class Forbidden(ServiceError):
    status = 403


class NotFound(ServiceError):
    status = 404


class Conflict(ServiceError):
    status = 409


class TooLarge(ServiceError):
    status = 413


class UnsupportedMedia(ServiceError):
    status = 415


class TooSoon(ServiceError):
    """retry_after_s: seconds until it will be done."""

    status = 429
    permanent = False

    def __init__(self, message: str, *, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class LLMError(ServiceError):
    status = 502


class LLMUnavailable(LLMError):
    """retry_after_s: seconds the provider asked us to wait, or None."""

    permanent = False

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class LLMRejected(LLMError):
    pass


class LLMMalformed(LLMError):
    """usage: what the unusable answers cost."""

    def __init__(self, message: str, *, usage: Sequence[Usage] = ()) -> None:
        super().__init__(message)
        self.usage = list(usage)


class BudgetExhausted(LLMError):
    status = 402
