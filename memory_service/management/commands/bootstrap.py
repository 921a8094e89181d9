"""`manage.py bootstrap`: what an empty database needs before anyone can use it. Safe to run again."""

from __future__ import annotations

import secrets
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from memory_service.config import write_private
from memory_service.embedding import ensure_profile
from memory_service.errors import Conflict
from memory_service.models import ApiKey, Membership, Organisation, OrganisationMembership, Project

ADMIN = "admin"


class Command(BaseCommand):
    help = "Make the default organisation, project, API key and dashboard user, and the embedding profile."

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            ensure_profile()
        except Conflict as exc:
            raise CommandError(str(exc)) from exc
        if not Organisation.objects.exists():
            with transaction.atomic():
                self._make_defaults()

    def _make_defaults(self) -> None:
        organisation = Organisation.objects.create(name="default")
        project = Project.objects.create(organisation=organisation, name="default")
        _, key = ApiKey.issue(project, role=ApiKey.Role.OWNER)
        password = secrets.token_urlsafe(12)
        user = get_user_model().objects.create_user(ADMIN, password=password, is_staff=True)
        Membership.objects.create(project=project, user=user, role=Membership.Role.OWNER)
        OrganisationMembership.objects.create(organisation=organisation, user=user, role=Membership.Role.OWNER)
        settings.DATA_DIR.mkdir(parents=True, exist_ok=True)
        write_private(settings.DATA_DIR / "api-key", key)
        write_private(settings.DATA_DIR / "admin-password", password)
        self.stdout.write(f"API key, shown once (and kept in {settings.DATA_DIR / 'api-key'}): {key}")
        self.stdout.write(
            f"Dashboard sign-in: {ADMIN} / {password} (and kept in {settings.DATA_DIR / 'admin-password'})"
        )
