"""Who owns what: organisations, their projects, the people in them and the keys that open them."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from datetime import timedelta

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from ..validation import MAX_NAME_CHARS
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

    A member's key reads and writes the memories of its own project, a viewer's only reads them. An owner's key may also
    manage the organisation: its projects, their settings, members and webhooks.

    A key that is bound to a user, an agent or an app opens the MCP server alone, and there only what is theirs.
    """

    class Role(models.TextChoices):
        OWNER = "owner"
        MEMBER = "member"
        VIEWER = "viewer"

    project = models.ForeignKey(Project, models.CASCADE, related_name="api_keys")
    name = models.CharField(max_length=200, default="default")
    role = models.CharField(max_length=10, choices=Role.choices, default=Role.MEMBER)
    bound_user_id = models.CharField(max_length=MAX_NAME_CHARS, null=True)
    bound_agent_id = models.CharField(max_length=MAX_NAME_CHARS, null=True)
    bound_app_id = models.CharField(max_length=MAX_NAME_CHARS, null=True)
    prefix = models.CharField(max_length=16)
    key_hash = models.CharField(max_length=64, unique=True)
    created_at = models.DateTimeField(default=timezone.now)
    last_used_at = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(role__in=["owner", "member", "viewer"]), name="key_role_known"),
            models.CheckConstraint(
                condition=~Q(bound_user_id="") & ~Q(bound_agent_id="") & ~Q(bound_app_id=""), name="key_scope_named"
            ),
            models.CheckConstraint(
                condition=~Q(role="owner")
                | Q(bound_user_id__isnull=True, bound_agent_id__isnull=True, bound_app_id__isnull=True),
                name="key_owner_unbound",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}...)"

    @property
    def bound_to(self) -> dict[str, str]:
        """What of user_id, agent_id and app_id the key is bound to; empty for a key of the whole project."""
        ids = {"user_id": self.bound_user_id, "agent_id": self.bound_agent_id, "app_id": self.bound_app_id}
        return {name: value for name, value in ids.items() if value is not None}

    @classmethod
    def issue(
        cls,
        project: Project,
        *,
        name: str = "default",
        role: str = Role.MEMBER,
        bound_to: Mapping[str, str] | None = None,
    ) -> tuple[ApiKey, str]:
        """Returns the row and the key. The key is 256 random bits, so a plain hash is enough.

        bound_to: user_id, agent_id, app_id, or some of them.
        """
        key = KEY_PREFIX + secrets.token_urlsafe(32)
        shown = {"prefix": key[:NUM_SHOWN_CHARS], "key_hash": hash_key(key)}
        scope = {f"bound_{field}": value for field, value in (bound_to or {}).items()}
        return cls.objects.create(project=project, name=name, role=role, **shown, **scope), key

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
