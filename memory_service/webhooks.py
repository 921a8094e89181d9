"""Webhooks: what changes in a project's memories is told to the addresses it names, signed, once for each change.

The deliveries are an outbox. Triggers write them in the transaction that changes the memory (see migration
0003_platform), so there is one for each revision and webhook, or none if the change is rolled back. `deliver_due` sends
what is due: one process at a time, several requests at once, so that a slow receiver holds up one worker at most.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import random
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone

from . import outbound
from .errors import Conflict, InvalidInput, NotFound, TooLarge
from .llm import parse_retry_after
from .locks import Kind, advisory_lock
from .models import Document, Project, Webhook, WebhookDelivery
from .models.platform import make_secret
from .validation import check_text

logger = logging.getLogger(__name__)

MAX_WEBHOOKS = 50  # of a project
MAX_NAME_CHARS = 200
MAX_PAUSE_S = 300.0  # of a webhook whose receiver fails, before one delivery is tried again
MAX_ATTEMPTS = 8  # the last one about three hours after the first
FIRST_BACKOFF_S, MAX_BACKOFF_S = 15.0, 3600.0
BACKOFF_FACTOR = 3.0
JITTER = 0.25  # of the pause, either way
BATCH = 32  # deliveries claimed at a time
THREADS = 8
ABANDONED = timedelta(seconds=90)  # a delivery claimed for so long has lost its worker
OLD_SECRET_HOURS = 24
TURN_S = 20.0  # deliver_due ends after that and is called again
KEPT_DAYS = 30  # of deliveries that are over
EVENT_TYPES = tuple(Webhook.EventType.values)
OPERATIONS = {
    "memory_add": "ADD",
    "memory_update": "UPDATE",
    "memory_delete": "DELETE",
    "memory_categorize": "CATEGORIZE",
    "document_add": "ADD",
    "document_update": "UPDATE",
    "document_delete": "DELETE",
    "document_fail": "FAIL",
}
GONE, TOO_MANY = 410, 429


# Managing


def find_webhook(projects: Sequence[Project], public_id: Any) -> Webhook:
    """Raises NotFound for a webhook of any other project."""
    found = Webhook.objects.select_related("project").filter(project__in=projects, public_id=public_id).first()
    if found is None:
        raise NotFound(f"webhook {public_id} was not found in this project")
    return found


def create_webhook(project: Project, data: Mapping[str, Any]) -> Webhook:
    """Raises InvalidInput, and Conflict for one too many."""
    checked = read_webhook(data)
    missing = [name for name in ("url", "event_types") if name not in checked]
    if missing:
        raise InvalidInput(f"{' and '.join(missing)} must be given")
    with transaction.atomic():
        Project.objects.select_for_update(no_key=True).get(pk=project.pk)
        if project.webhooks.count() >= MAX_WEBHOOKS:
            raise Conflict(f"the project has {MAX_WEBHOOKS} webhooks already: delete one first")
        checked.setdefault("name", checked["url"][:MAX_NAME_CHARS])
        return Webhook.objects.create(project=project, **checked)


def change_webhook(webhook: Webhook, data: Mapping[str, Any]) -> Webhook:
    """What is not named stays. Making it active again clears the reason for which it was not."""
    checked = read_webhook(data)
    if not checked:
        raise InvalidInput("nothing to change: send at least one of url, name, event_types, is_active")
    if "is_active" in checked:
        checked["disabled_reason"] = "" if checked["is_active"] else "by request"
    checked |= {"num_failures": 0, "paused_until": None}
    Webhook.objects.filter(pk=webhook.pk).update(**checked, updated_at=timezone.now())
    webhook.refresh_from_db()
    return webhook


def rotate_secret(webhook: Webhook) -> Webhook:
    """A new secret; the one before signs too for OLD_SECRET_HOURS, so that receivers can change over."""
    Webhook.objects.filter(pk=webhook.pk).update(
        previous_secret=F("secret"),
        previous_secret_until=timezone.now() + timedelta(hours=OLD_SECRET_HOURS),
        secret=make_secret(),
        updated_at=timezone.now(),
    )
    webhook.refresh_from_db()
    return webhook


def read_webhook(data: Mapping[str, Any]) -> dict[str, Any]:
    """The checked columns among what was sent; eventTypes and isActive are the JavaScript client's spelling."""
    spelled = {"eventTypes": "event_types", "isActive": "is_active"}
    given = {spelled.get(name, name): value for name, value in data.items()}
    checked: dict[str, Any] = {}
    if given.get("url") is not None:
        checked["url"] = str(outbound.read_url(given["url"], allow_private=settings.ENV.webhook_allow_private).url)
    if given.get("name") is not None:
        checked["name"] = _read_name(given["name"])
    if given.get("event_types") is not None:
        checked["event_types"] = _read_event_types(given["event_types"])
    if given.get("is_active") is not None:
        if not isinstance(given["is_active"], bool):
            raise InvalidInput("is_active must be true or false")
        checked["is_active"] = given["is_active"]
    return checked


def _read_name(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise InvalidInput("name must be a string that is not empty")
    if len(value) > MAX_NAME_CHARS:
        raise TooLarge(f"name has {len(value)} characters; at most {MAX_NAME_CHARS} are accepted")
    return check_text(value, name="name")


def _read_event_types(value: Any) -> list[str]:
    known = isinstance(value, list) and all(isinstance(one, str) and one in EVENT_TYPES for one in value)
    if not known or not value:
        raise InvalidInput(f"event_types must be a non-empty list of {', '.join(EVENT_TYPES)}")
    return list(dict.fromkeys(value))


def redeliver(delivery: WebhookDelivery) -> WebhookDelivery:
    """Puts one back, with all its attempts before it. Raises Conflict while it is still on its way."""
    over = WebhookDelivery.objects.filter(pk=delivery.pk, status__in=["delivered", "dead"])
    if delivery.revision_id is None and not delivery.forgotten and not is_of_document(delivery):
        raise Conflict("what this delivery told was forgotten: there is nothing to send again")
    if not over.update(status="pending", num_attempts=0, due_at=timezone.now(), error="", delivered_at=None):
        raise Conflict("this delivery is still on its way")
    Webhook.objects.filter(pk=delivery.webhook_id).update(paused_until=None)
    delivery.refresh_from_db()
    return delivery


# Sending


@dataclass(frozen=True, slots=True)
class Parcel:
    """All that sending needs, so that the threads touch no database."""

    delivery_id: int
    webhook_id: int
    num_attempts: int
    num_failures: int  # of the webhook, when it was read
    url: str
    body: bytes
    headers: dict[str, str]


@dataclass(frozen=True, slots=True)
class Outcome:
    code: int | None
    error: str
    latency_ms: float
    retry_after_s: float | None = None
    final: bool = False  # trying again will not help

    @property
    def ok(self) -> bool:
        return self.code is not None and 200 <= self.code < 300

    @property
    def is_receivers_fault(self) -> bool:
        """No answer, too many requests, or an error of its own: the next delivery would fare no better."""
        return self.code is None or self.code == TOO_MANY or self.code >= 500


def due_deliveries() -> Any:
    """Of active webhooks that are not paused; those of a disabled one wait until it is active again."""
    now = timezone.now()
    waiting = Q(status="pending") | Q(status="sending", claimed_at__lt=now - ABANDONED)
    free = Q(webhook__paused_until=None) | Q(webhook__paused_until__lte=now)
    return WebhookDelivery.objects.filter(waiting, free, due_at__lte=now, webhook__is_active=True)


def deliver_due() -> int:
    """Sends what is due, for TURN_S at most. Returns how many were tried; 0 also while another does it."""
    end = time.monotonic() + TURN_S
    num_tried = 0
    with advisory_lock(Kind.WEBHOOKS, 0) as held:
        while held and time.monotonic() < end:
            claimed = claim_due()
            if not claimed:
                break
            num_tried += len(claimed)
            send(claimed)
    return num_tried


@transaction.atomic
def claim_due() -> list[WebhookDelivery]:
    """The oldest first, but of each webhook no more than its share, so that one with much to tell leaves room; and of
    one whose receiver failed last time only one, to see whether it is back."""
    ids: list[int] = []
    due = due_deliveries().values_list("webhook", "webhook__num_failures").distinct().order_by("webhook")
    for webhook_id, num_failures in list(due[:BATCH]):
        mine = due_deliveries().filter(webhook=webhook_id).order_by("due_at", "id")
        ids += mine.values_list("pk", flat=True)[: 1 if num_failures else THREADS]
    rows = WebhookDelivery.objects.filter(pk__in=ids[:BATCH]).select_for_update(of=("self",), skip_locked=True)
    claimed = list(rows.select_related("webhook", "revision__memory").order_by("id"))
    now = timezone.now()
    WebhookDelivery.objects.filter(pk__in=[one.pk for one in claimed]).update(
        status="sending", claimed_at=now, num_attempts=F("num_attempts") + 1
    )
    for one in claimed:
        one.num_attempts += 1
    return claimed


def send(claimed: Sequence[WebhookDelivery]) -> None:
    allow_private = settings.ENV.webhook_allow_private
    parcels = [parcel for one in claimed if (parcel := pack(one)) is not None]
    pool = ThreadPoolExecutor(THREADS, thread_name_prefix="webhook")
    try:
        sent = {pool.submit(_post, parcel, allow_private): parcel for parcel in parcels}
        # A receiver that drips its answer would hold us for ever: who is not done by then has failed.
        done, late = wait(sent, timeout=outbound.TOTAL_TIMEOUT_S * (1 + len(parcels) // THREADS))
        for future in done:
            record(sent[future], future.result())
        for future in late:
            record(sent[future], Outcome(None, "no answer in time", 1000 * outbound.TOTAL_TIMEOUT_S))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def pack(delivery: WebhookDelivery) -> Parcel | None:
    """None, and the delivery is dead, where what it told was forgotten meanwhile."""
    payload = render_payload(delivery)
    if payload is None:
        WebhookDelivery.objects.filter(pk=delivery.pk).update(
            status="dead", error="what it told was forgotten before it was sent"
        )
        return None
    body = json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "memory-service-webhooks/1",
        "X-Webhook-Id": str(delivery.public_id),
        "X-Webhook-Event": delivery.event_type,
        "X-Webhook-Attempt": str(delivery.num_attempts),
        **sign(delivery.webhook, body, at=timezone.now()),
    }
    webhook = delivery.webhook
    return Parcel(
        delivery.pk, webhook.pk, delivery.num_attempts, min(webhook.num_failures, 20), webhook.url, body, headers
    )


def sign(webhook: Webhook, body: bytes, *, at: datetime) -> dict[str, str]:
    """The two headers. v1 is HMAC-SHA256 over `timestamp.body`, in hex; after a rotation there are two of them."""
    timestamp = str(int(at.timestamp()))
    secrets = [webhook.secret]
    if webhook.previous_secret and webhook.previous_secret_until and webhook.previous_secret_until > at:
        secrets.append(webhook.previous_secret)
    signatures = ",".join(f"v1={signature(secret, timestamp, body)}" for secret in secrets)
    return {"X-Webhook-Timestamp": timestamp, "X-Webhook-Signature": signatures}


def signature(secret: str, timestamp: str, body: bytes) -> str:
    return hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def render_payload(delivery: WebhookDelivery) -> dict[str, Any] | None:
    """The protocol's `event_details`, and beside it what a receiver would otherwise have to ask for."""
    if is_of_document(delivery):
        return render_document_payload(delivery)
    details: dict[str, Any] = {
        "id": str(delivery.memory_public_id),
        "data": {"memory": None},
        "event": OPERATIONS[delivery.event_type],
    }
    revision = delivery.revision
    if revision is not None:
        memory = revision.memory
        text = revision.old_text if revision.operation == "DELETE" else revision.new_text
        details["data"] = {"memory": text}
        if revision.operation == "UPDATE":
            details["data"]["old_memory"] = revision.old_text
        details |= {
            "user_id": memory.user_id,
            "agent_id": memory.agent_id,
            "app_id": memory.app_id,
            "run_id": memory.run_id,
            "categories": revision.categories,
            "metadata": revision.metadata or None,
            "reason": revision.reason,
            "revision_id": str(revision.public_id),
            "created_at": revision.created_at.isoformat(),
        }
    elif not delivery.forgotten:
        return None
    else:
        details["reason"] = "forgotten"
    return {
        "delivery_id": str(delivery.public_id),
        "type": delivery.event_type,
        "project_id": str(delivery.webhook.project.public_id),
        "event_details": details,
    }


def is_of_document(delivery: WebhookDelivery) -> bool:
    return str(delivery.event_type).startswith("document_")


def render_document_payload(delivery: WebhookDelivery) -> dict[str, Any] | None:
    """What the document is when it is sent, without its text; None where it was forgotten."""
    document = Document.objects.filter(public_id=delivery.memory_public_id).select_related("content").first()
    if document is None:
        return None
    return {
        "delivery_id": str(delivery.public_id),
        "type": delivery.event_type,
        "project_id": str(delivery.webhook.project.public_id),
        "event_details": {
            "id": str(document.public_id),
            "event": OPERATIONS[delivery.event_type],
            "title": document.title or None,
            "source": document.source or None,
            "user_id": document.user_id,
            "agent_id": document.agent_id,
            "app_id": document.app_id,
            "run_id": document.run_id,
            "metadata": document.metadata or None,
            "state": document.state,
            "error": document.error or None,
            "num_pages": document.content.num_pages,
            "num_chars": document.content.num_chars,
            "created_at": document.created_at.isoformat(),
            "updated_at": document.updated_at.isoformat(),
        },
    }


def _post(parcel: Parcel, allow_private: bool) -> Outcome:
    """Whatever goes wrong is an outcome: it is written down, not raised."""
    started = time.perf_counter()

    def outcome(code: int | None, error: str, **more: Any) -> Outcome:
        return Outcome(code, error, 1000 * (time.perf_counter() - started), **more)

    try:
        target = outbound.read_url(parcel.url, allow_private=allow_private)
        answer = outbound.post(target, parcel.body, parcel.headers, allow_private=allow_private)
    except (outbound.Refused, InvalidInput) as exc:
        return outcome(None, f"refused: {exc}")
    except (*outbound.FAULTS, OSError, ValueError) as exc:
        return outcome(None, f"{type(exc).__name__}: {exc}"[:500])
    if 200 <= answer.code < 300:
        return outcome(answer.code, "")
    if 300 <= answer.code < 400:
        return outcome(answer.code, f"HTTP {answer.code}: redirects are not followed")
    asked = parse_retry_after(answer.retry_after, now=datetime.now(UTC))
    return outcome(answer.code, f"HTTP {answer.code}", retry_after_s=asked, final=answer.code == GONE)


def record(parcel: Parcel, outcome: Outcome) -> None:
    """delivered; or pending with a time to try again; or dead, after MAX_ATTEMPTS or where the receiver is gone."""
    now = timezone.now()
    mine = WebhookDelivery.objects.filter(pk=parcel.delivery_id, status="sending", num_attempts=parcel.num_attempts)
    known = {"response_code": outcome.code, "latency_ms": round(outcome.latency_ms, 1), "error": outcome.error}
    if outcome.ok:
        mine.update(status="delivered", delivered_at=now, **known)
    elif outcome.final or parcel.num_attempts >= MAX_ATTEMPTS:
        mine.update(status="dead", **known)
    else:
        pause = timedelta(seconds=backoff_s(parcel.num_attempts, outcome.retry_after_s))
        mine.update(status="pending", due_at=now + pause, **known)
    hooks = Webhook.objects.filter(pk=parcel.webhook_id)
    if outcome.final:
        hooks.update(is_active=False, disabled_reason=f"the receiver answered {outcome.code}", updated_at=now)
    elif outcome.ok:
        hooks.exclude(num_failures=0).update(num_failures=0, paused_until=None)
    elif outcome.is_receivers_fault:
        # Or a receiver that is away would cost a time-out for each delivery, while memories wait for the worker.
        num_failures = parcel.num_failures + 1
        pause_s = min(FIRST_BACKOFF_S * 2 ** (num_failures - 1), MAX_PAUSE_S)
        pause_s = max(pause_s, min(outcome.retry_after_s or 0.0, MAX_BACKOFF_S))
        hooks.update(num_failures=num_failures, paused_until=now + timedelta(seconds=pause_s))


def backoff_s(num_attempts: int, asked_s: float | None = None) -> float:
    """Grows by BACKOFF_FACTOR from FIRST_BACKOFF_S, with jitter; never sooner than the receiver asked for."""
    pause = min(FIRST_BACKOFF_S * BACKOFF_FACTOR ** (num_attempts - 1), MAX_BACKOFF_S)
    pause *= 1 + random.uniform(-JITTER, JITTER)
    return max(pause, min(asked_s or 0.0, MAX_BACKOFF_S))


def drop_old_deliveries() -> int:
    """Those that are over for KEPT_DAYS."""
    before = timezone.now() - timedelta(days=KEPT_DAYS)
    over = WebhookDelivery.objects.filter(status__in=["delivered", "dead"], created_at__lt=before)
    ids = list(over.values_list("pk", flat=True)[:10_000])
    return WebhookDelivery.objects.filter(pk__in=ids).delete()[0]
