"""What stands around the memories: who may manage what, webhooks and their deliveries, exports, imports."""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.utils import timezone

from .base import PublicModel
from .conversation import MAX_NAME_CHARS
from .memory import MemoryRevision
from .tenancy import Membership, Organisation, Project

SECRET_PREFIX = "whsec_"
EXPORT_DAYS = 7  # after that an export's data, and what an import could not read, is removed


def in_a_while() -> datetime:
    return timezone.now() + timedelta(days=EXPORT_DAYS)


class JobStatus(models.TextChoices):
    PENDING = "PENDING"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"


UNFINISHED = (JobStatus.PENDING, JobStatus.RUNNING)


class OrganisationMembership(models.Model):
    """A person's place in an organisation. Its owners are owners of all its projects, by rows of `Membership`."""

    organisation = models.ForeignKey(Organisation, models.CASCADE, related_name="memberships")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="organisation_memberships")
    role = models.CharField(max_length=10, choices=Membership.Role.choices, default=Membership.Role.VIEWER)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organisation", "user"], name="organisation_membership_unique"),
            models.CheckConstraint(
                condition=Q(role__in=Membership.Role.values), name="organisation_membership_role_known"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user} in {self.organisation} ({self.role})"


class ProjectDeletion(PublicModel):
    """The order to delete a project, and the receipt: it outlives the project."""

    organisation = models.ForeignKey(Organisation, models.SET_NULL, null=True, related_name="project_deletions")
    project = models.ForeignKey(Project, models.SET_NULL, null=True, related_name="deletions")
    project_public_id = models.UUIDField()
    project_name = models.CharField(max_length=200)
    with_organisation = models.BooleanField(default=False)  # the organisation goes with its last project
    status = models.CharField(max_length=10, choices=JobStatus.choices, default=JobStatus.PENDING)
    deleted = models.JSONField(default=dict)  # how many rows of each kind
    error = models.TextField(blank=True, default="")
    num_attempts = models.IntegerField(default=0)
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)
    completed_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(status__in=JobStatus.values), name="project_deletion_status_known")
        ]

    def __str__(self) -> str:
        return f"deletion of {self.project_name} {self.status}"


class EntityRecord(models.Model):
    """A user, agent, app or run that was made by request, with what is told about it. Most need no such row."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="entity_records")
    type = models.CharField(max_length=5)
    name = models.CharField(max_length=MAX_NAME_CHARS)
    metadata = models.JSONField(default=dict)
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project", "type", "name"], name="entity_record_unique"),
            models.CheckConstraint(
                condition=Q(type__in=["user", "agent", "app", "run"]), name="entity_record_type_known"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.name}"


# Webhooks


def make_secret() -> str:
    return SECRET_PREFIX + secrets.token_urlsafe(32)


class Webhook(PublicModel):
    """Where a project's changes are told. secret signs; it is shown once. previous_secret signs too for a while."""

    class EventType(models.TextChoices):
        ADD = "memory_add"
        UPDATE = "memory_update"
        DELETE = "memory_delete"
        CATEGORIZE = "memory_categorize"
        DOCUMENT_ADD = "document_add"
        DOCUMENT_UPDATE = "document_update"
        DOCUMENT_DELETE = "document_delete"
        DOCUMENT_FAIL = "document_fail"

    project = models.ForeignKey(Project, models.CASCADE, related_name="webhooks")
    name = models.CharField(max_length=200)
    url = models.CharField(max_length=2000)
    event_types = ArrayField(models.CharField(max_length=30))
    is_active = models.BooleanField(default=True)
    disabled_reason = models.TextField(blank=True, default="")
    secret = models.CharField(max_length=100, default=make_secret)
    previous_secret = models.CharField(max_length=100, blank=True, default="")
    previous_secret_until = models.DateTimeField(null=True)
    num_failures = models.IntegerField(default=0)  # one after the other, with no success between
    paused_until = models.DateTimeField(null=True)  # after a failure nothing is sent for a while
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(event_types__len__gt=0)
                & Q(
                    event_types__contained_by=[
                        *("memory_add", "memory_update", "memory_delete", "memory_categorize"),
                        *("document_add", "document_update", "document_delete", "document_fail"),
                    ]
                ),
                name="webhook_event_types_known",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} -> {self.url}"


class WebhookDelivery(PublicModel):
    """One revision told to one webhook. The rows are written by triggers (migration 0003), in the transaction that
    writes the revision; of a memory that is destroyed there is no revision, and only its id is told.

    It holds no text: the body is rendered from the revision when it is sent, so that forgetting leaves none here.
    """

    class Status(models.TextChoices):
        PENDING = "pending"
        SENDING = "sending"
        DELIVERED = "delivered"
        DEAD = "dead"

    webhook = models.ForeignKey(Webhook, models.CASCADE, related_name="deliveries")
    # The database's own constraint sets it null when the revision is forgotten.
    revision = models.ForeignKey(
        MemoryRevision, models.DO_NOTHING, null=True, db_constraint=False, related_name="deliveries"
    )
    memory_public_id = models.UUIDField()  # of the document where a document_ event is told
    event_type = models.CharField(max_length=30, choices=Webhook.EventType.choices)
    forgotten = models.BooleanField(default=False, db_default=False)  # the memory was destroyed, with its history
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.PENDING, db_default=Status.PENDING)
    num_attempts = models.IntegerField(default=0, db_default=0)
    due_at = models.DateTimeField(default=timezone.now)
    claimed_at = models.DateTimeField(null=True)
    response_code = models.IntegerField(null=True)
    latency_ms = models.FloatField(null=True)
    error = models.TextField(blank=True, default="", db_default="")
    created_at = models.DateTimeField(default=timezone.now)
    delivered_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["webhook", "revision", "event_type"], name="webhook_delivery_unique"),
            models.CheckConstraint(
                condition=Q(status__in=["pending", "sending", "delivered", "dead"]),
                name="webhook_delivery_status_known",
            ),
        ]
        indexes = [
            models.Index(
                fields=["due_at"], name="webhook_delivery_due", condition=Q(status__in=["pending", "sending"])
            ),
            models.Index(fields=["webhook", "-id"], name="webhook_delivery_log"),
        ]

    def __str__(self) -> str:
        return f"{self.event_type} to {self.webhook_id} {self.status}"


# Exports and imports


class MemoryExport(PublicModel):
    """What is remembered, put into the shape of a JSON schema. scope_ids: whose memories are in it; when one of
    them is forgotten the row goes too."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="exports")
    schema = models.JSONField()
    filters = models.JSONField()
    instructions = models.TextField(blank=True, default="")
    status = models.CharField(max_length=10, choices=JobStatus.choices, default=JobStatus.PENDING)
    data = models.JSONField(null=True)
    sources = models.JSONField(default=dict)  # JSON pointer into data -> ids of memories
    notes = models.JSONField(default=list)
    scope_ids = ArrayField(models.BigIntegerField(), default=list)
    num_memories = models.IntegerField(null=True)
    num_attempts = models.IntegerField(default=0)
    error = models.TextField(blank=True, default="")
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)
    completed_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(default=in_a_while)

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(status__in=JobStatus.values), name="export_status_known")]
        indexes = [
            models.Index(fields=["project", "-id"], name="export_project"),
            models.Index(fields=["expires_at"], name="export_expiry"),
        ]

    def __str__(self) -> str:
        return f"export {self.public_id} {self.status}"


class ImportJob(PublicModel):
    """A file that is being taken in, line by line. defaults: the entity ids of lines that name none."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="imports")
    source = models.CharField(max_length=255, blank=True, default="")
    defaults = models.JSONField(default=dict)
    status = models.CharField(max_length=10, choices=JobStatus.choices, default=JobStatus.PENDING)
    num_lines = models.IntegerField(default=0)
    num_attempts = models.IntegerField(default=0)
    error = models.TextField(blank=True, default="")
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)
    completed_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(default=in_a_while)

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(status__in=JobStatus.values), name="import_status_known")]
        indexes = [models.Index(fields=["project", "-id"], name="import_project")]

    def __str__(self) -> str:
        return f"import {self.public_id} {self.status}"


class ImportLine(models.Model):
    """One line (or one item of a list). content is kept until it is done; of a failed one until the job expires."""

    class Status(models.TextChoices):
        PENDING = "pending"
        DONE = "done"  # something was written
        KNOWN = "known"  # it was here already
        FAILED = "failed"

    job = models.ForeignKey(ImportJob, models.CASCADE, related_name="lines")
    number = models.IntegerField()  # from 1, as an editor counts
    repeat = models.IntegerField(default=0)  # how many lines before it say exactly the same
    content = models.JSONField(null=True)
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.PENDING)
    error = models.TextField(blank=True, default="")
    memory_public_id = models.UUIDField(null=True)  # what it became; no keys, so that forgetting needs not know us
    event_public_id = models.UUIDField(null=True)
    replaced_by = models.CharField(max_length=MAX_NAME_CHARS, blank=True, default="")  # the origin's id for it

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["job", "number"], name="import_line_unique"),
            models.CheckConstraint(
                condition=Q(status__in=["pending", "done", "known", "failed"]), name="import_line_status_known"
            ),
        ]
        indexes = [models.Index(fields=["job", "number"], name="import_line_waiting", condition=Q(status="pending"))]

    def __str__(self) -> str:
        return f"line {self.number} {self.status}"
