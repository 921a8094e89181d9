"""Who owns what: organisations, their projects, the people in them and the keys that open them."""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from .base import PublicModel

KEY_PREFIX = "ms-"
NUM_SHOWN_CHARS = 9  # of a key, in lists: enough to tell two apart
LAST_USED_GRAIN = timedelta(minutes=1)


class Organisation(PublicModel):
    name = models.CharField(max_length=200)
    created_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return self.name


class ExtractionPolicy(models.TextChoices):
    """How a project turns messages into memories. `auto` is two_phase where an LLM is configured, else local."""

    AUTO = "auto"
    LOCAL = "local"
    TWO_PHASE = "two_phase"
    ADD_ONLY = "add_only"


class Project(PublicModel):
    organisation = models.ForeignKey(Organisation, models.CASCADE, related_name="projects")
    name = models.CharField(max_length=200)
    extraction_policy = models.CharField(max_length=20, choices=ExtractionPolicy.choices, default=ExtractionPolicy.AUTO)
    custom_instructions = models.TextField(blank=True, default="")
    custom_categories = models.JSONField(default=list, blank=True)
    enable_graph = models.BooleanField(default=False, db_default=False)  # a model is asked for relations on every add
    description = models.TextField(blank=True, default="")
    settings = models.JSONField(default=dict, blank=True)  # the protocol's other settings; see platform.SETTINGS
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)
    deleted_at = models.DateTimeField(null=True)  # no key opens it any more, and its rows are on their way out

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organisation", "name"], name="project_name_unique"),
            models.CheckConstraint(
                condition=Q(extraction_policy__in=ExtractionPolicy.values), name="project_policy_known"
            ),
        ]

    def __str__(self) -> str:
        return self.name


class Membership(models.Model):
    """A person's place in a project; the dashboard shows nothing of projects one is not in."""

    class Role(models.TextChoices):
        OWNER = "owner"
        MEMBER = "member"
        VIEWER = "viewer"

    project = models.ForeignKey(Project, models.CASCADE, related_name="memberships")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=10, choices=Role.choices, default=Role.MEMBER)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project", "user"], name="membership_unique")]

    def __str__(self) -> str:
        return f"{self.user} in {self.project} ({self.role})"


class ApiKey(PublicModel):
    """Only the key's hash is kept, so a stolen table opens nothing. The key itself is shown once, by `issue`.

    A key reads and writes the memories of its own project, whatever its role. An owner's key may also manage the
    organisation: its projects, their settings, members and webhooks.
    """

    class Role(models.TextChoices):
        OWNER = "owner"
        MEMBER = "member"

    project = models.ForeignKey(Project, models.CASCADE, related_name="api_keys")
    name = models.CharField(max_length=200, default="default")
    role = models.CharField(max_length=10, choices=Role.choices, default=Role.MEMBER)
    prefix = models.CharField(max_length=16)
    key_hash = models.CharField(max_length=64, unique=True)
    created_at = models.DateTimeField(default=timezone.now)
    last_used_at = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(role__in=["owner", "member"]), name="key_role_known")]

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}...)"

    @classmethod
    def issue(cls, project: Project, *, name: str = "default", role: str = Role.MEMBER) -> tuple[ApiKey, str]:
        """Returns the row and the key. The key is 256 random bits, so a plain hash is enough."""
        key = KEY_PREFIX + secrets.token_urlsafe(32)
        shown = {"prefix": key[:NUM_SHOWN_CHARS], "key_hash": hash_key(key)}
        return cls.objects.create(project=project, name=name, role=role, **shown), key

    @classmethod
    def find(cls, key: str) -> ApiKey | None:
        """The live key, marked as used (at most once a minute, to spare the row)."""
        found = (
            cls.objects.select_related("project__organisation")
            .filter(key_hash=hash_key(key), revoked_at__isnull=True, project__deleted_at__isnull=True)
            .first()
        )
        if found:
            found._mark_used()
        return found

    def revoke(self) -> None:
        ApiKey.objects.filter(pk=self.pk, revoked_at__isnull=True).update(revoked_at=timezone.now())

    def _mark_used(self) -> None:
        now = timezone.now()
        if self.last_used_at is None or now - self.last_used_at > LAST_USED_GRAIN:
            ApiKey.objects.filter(pk=self.pk).update(last_used_at=now)


def hash_key(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
