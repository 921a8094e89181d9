"""`manage.py keys create|list|revoke`: the API keys of a project."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from memory_service.errors import InvalidInput, NotFound
from memory_service.models import ApiKey
from memory_service.organisations import named_project
from memory_service.validation import check_name

BOUND_FIELDS = ("user_id", "agent_id", "app_id")


class Command(BaseCommand):
    help = "Create, list or revoke API keys."

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        create = actions.add_parser("create", help="make a key and show it, once")
        create.add_argument("--project", default="default", help="the project's name or id")
        create.add_argument("--name", default="default", help="what the key is for")
        create.add_argument(
            "--role",
            default="member",
            choices=["member", "owner", "viewer"],
            help="owner: may manage the organisation too; viewer: only reads",
        )
        for field in BOUND_FIELDS:
            what = field.removesuffix("_id")
            create.add_argument(
                f"--{field.replace('_', '-')}", help=f"bind the key to this {what}: it then opens the MCP server alone"
            )
        actions.add_parser("list", help="every key: its beginning, project, name, last use")
        revoke = actions.add_parser("revoke", help="end a key at once")
        revoke.add_argument("prefix", help="the key's beginning, as `list` shows it")

    def handle(self, *args: Any, **options: Any) -> None:
        getattr(self, options["action"])(options)

    def create(self, options: dict[str, Any]) -> None:
        try:
            project = named_project(options["project"])
        except NotFound as exc:
            raise CommandError(f"--project={exc}") from exc
        try:
            bound_to = {
                field: check_name(options[field], name=field) for field in BOUND_FIELDS if options[field] is not None
            }
        except InvalidInput as exc:
            raise CommandError(str(exc)) from exc
        if bound_to and options["role"] == ApiKey.Role.OWNER:
            raise CommandError(f"an owner's key manages the organisation and cannot be bound to {', '.join(bound_to)}")
        _, key = ApiKey.issue(project, name=options["name"], role=options["role"], bound_to=bound_to)
        self.stdout.write(key)

    def list(self, options: dict[str, Any]) -> None:
        for key in ApiKey.objects.select_related("project").order_by("id"):
            state = f"revoked {key.revoked_at:%Y-%m-%d %H:%M}" if key.revoked_at else "live"
            used = f"last used {key.last_used_at:%Y-%m-%d %H:%M}" if key.last_used_at else "never used"
            bound = "".join(f"  {name}={value}" for name, value in key.bound_to.items())
            self.stdout.write(f"{key.prefix}  {key.project}  {key.name}  {key.role}  {state}  {used}{bound}")

    def revoke(self, options: dict[str, Any]) -> None:
        found = list(ApiKey.objects.filter(prefix=options["prefix"], revoked_at__isnull=True))
        if len(found) != 1:
            raise CommandError(f"{len(found)} live keys begin with {options['prefix']!r}; `keys list` shows them")
        found[0].revoke()
        self.stdout.write(f"{found[0]} is revoked.")
