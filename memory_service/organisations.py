"""Organisations, their projects and members, by request: who may do what, settings, and the end of a project.

A key reads and writes the memories of its own project. What it may manage beside that is decided here, by
`find_project` and `check_owner`. Nothing outside the key's organisation exists for it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.contrib.auth import get_user_model
from django.db import IntegrityError, transaction
from django.utils import timezone

from . import document_storage, ranking
from .errors import Conflict, Forbidden, InvalidInput, NotFound, TooLarge
from .forgetting import forget_scope
from .locks import Kind, advisory_lock
from .models import (
    ApiKey,
    EvaluationRun,
    Event,
    ExtractionPolicy,
    ImportJob,
    JobStatus,
    LifecycleSettings,
    Membership,
    MemoryExport,
    Organisation,
    OrganisationMembership,
    Project,
    ProjectDeletion,
    Scope,
    Webhook,
)
from .validation import check_json, check_text

logger = logging.getLogger(__name__)

MAX_NAME_CHARS = 200
MAX_INSTRUCTIONS_CHARS = 10_000
MAX_DESCRIPTION_CHARS = 10_000
MAX_CATEGORIES = 200
MAX_EMAIL_CHARS = 150  # Django's user names are no longer, and a new person's is the address
MAX_SETTING_CHARS = 20_000  # of JSON
BUSY_PAUSE = timedelta(seconds=1)  # before a scope that a worker holds is tried again
MAX_ATTEMPTS = 10
STALE = timedelta(seconds=30)  # an unfinished deletion untouched for so long has no worker coming for it

# The protocol's words for a person's role, and ours beside them.
ROLES = {
    "OWNER": Membership.Role.OWNER,
    "READER": Membership.Role.VIEWER,
    "MEMBER": Membership.Role.MEMBER,
}
ROLE_NAMES = {role: name for name, role in ROLES.items()}


# What a key may do


def find_organisation(key: ApiKey, public_id: str) -> Organisation:
    """The key's own organisation under that id, or NotFound."""
    organisation = key.project.organisation
    if str(organisation.public_id) != str(public_id):
        raise NotFound(f"organization {public_id} was not found: this key belongs to {organisation.public_id}")
    return organisation


def find_project(key: ApiKey, public_id: str, *, organisation: Organisation | None = None) -> Project:
    """The key's own project, or another of its organisation where it is an owner's key. Raises NotFound."""
    if str(key.project.public_id) == str(public_id):
        return key.project
    found = None
    if key.role == ApiKey.Role.OWNER:
        projects = Project.objects.select_related("organisation").filter(deleted_at__isnull=True)
        found = projects.filter(organisation=organisation or key.project.organisation, public_id=public_id).first()
    if found is None:
        raise NotFound(f"project {public_id} was not found, or is not one that this key may see")
    return found


def projects_of(key: ApiKey) -> list[Project]:
    """Those that the key may see, its own first."""
    if key.role != ApiKey.Role.OWNER:
        return [key.project]
    projects = Project.objects.filter(organisation=key.project.organisation, deleted_at__isnull=True)
    projects = projects.filter(evaluation_corpus=None).order_by("id")
    return sorted(projects.select_related("organisation"), key=lambda p: p.pk != key.project_id)


def named_project(name: str) -> Project:
    """By its id, or by a name that only one project has: for commands. Raises NotFound, naming what there is."""
    projects = list(Project.objects.filter(deleted_at__isnull=True).select_related("organisation").order_by("id"))
    found = [project for project in projects if name in (project.name, str(project.public_id))]
    if len(found) == 1:
        return found[0]
    if not found:
        raise NotFound(f"{name!r} is unknown; there are: {', '.join(project.name for project in projects)}")
    ids = ", ".join(f"{project.public_id} (of {project.organisation.name})" for project in found)
    raise NotFound(f"{name!r} is the name of {len(found)} projects: give the id, one of {ids}")


def check_owner(key: ApiKey, what: str) -> None:
    """Raises Forbidden for a key that is not an owner's."""
    if key.role != ApiKey.Role.OWNER:
        raise Forbidden(
            f"this key may not {what}: that takes an owner's key of the organization, such as the one that "
            "`manage.py bootstrap` made; `manage.py keys create --role owner` makes another"
        )


# Organisations and projects


def create_organisation(key: ApiKey, name: Any) -> tuple[Organisation, Project, str]:
    """With a first project and an owner's key to it, without which nobody could reach it. The key is shown once."""
    check_owner(key, "create an organization")
    with transaction.atomic():
        organisation = Organisation.objects.create(name=check_name(name))
        project = Project.objects.create(organisation=organisation, name="default")
        _, opened_by = ApiKey.issue(project, role=ApiKey.Role.OWNER)
    return organisation, project, opened_by


def create_project(key: ApiKey, organisation: Organisation, data: Mapping[str, Any]) -> tuple[Project, str]:
    """With a key of its own, shown once. The organisation's owners are its owners. Raises Conflict for a known name."""
    check_owner(key, "create a project")
    name = check_name(data.get("name"))
    settings = {k: v for k, v in data.items() if k != "name"}
    project = Project(organisation=organisation, name=name)
    change_settings(project, settings, save=False)
    try:
        with transaction.atomic():
            project.save(force_insert=True)
            _apply_decay(project, settings)
            owners = organisation.memberships.filter(role=Membership.Role.OWNER)
            Membership.objects.bulk_create(
                Membership(project=project, user_id=one.user_id, role=Membership.Role.OWNER) for one in owners
            )
            _, opened_by = ApiKey.issue(project)
    except IntegrityError as exc:
        raise _name_is_taken(exc, name) from exc
    return project, opened_by


def _name_is_taken(exc: IntegrityError, name: str) -> Exception:
    if "project_name_unique" in str(exc):
        return Conflict(f"the organization has a project called {name!r} already: choose another name")
    return exc


# Settings: the columns that have an effect here, and those that are kept and given back


def check_name(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise InvalidInput("name must be a string that is not empty")
    if len(value) > MAX_NAME_CHARS:
        raise InvalidInput(f"name has {len(value)} characters; at most {MAX_NAME_CHARS} are accepted")
    return check_text(value.strip(), name="name")


def _text(limit: int) -> Callable[[str, Any], Any]:
    def check(name: str, value: Any) -> str:
        if value is None:
            return ""
        if not isinstance(value, str):
            raise InvalidInput(f"{name} must be a string, not {type(value).__name__}")
        if len(value) > limit:
            raise TooLarge(f"{name} has {len(value)} characters; at most {limit} are accepted")
        return check_text(value, name=name)

    return check


def _flag(name: str, value: Any) -> bool | None:
    if value is not None and not isinstance(value, bool):
        raise InvalidInput(f"{name} must be true or false, not {value!r}"[:200])
    return value


def _anything(name: str, value: Any) -> Any:
    check_json(value, name=name, depth=20)
    if len(str(value)) > MAX_SETTING_CHARS:
        raise TooLarge(f"{name} is over {MAX_SETTING_CHARS} characters")
    return value


def _short(name: str, value: Any) -> str | None:
    if value is None:
        return None
    checked: str = _text(200)(name, value)
    return checked


def _policy(name: str, value: Any) -> str:
    if value not in ExtractionPolicy.values:
        raise InvalidInput(f"{name}={value!r} is unknown; accepted are {', '.join(ExtractionPolicy.values)}"[:300])
    return str(value)


def _categories(name: str, value: Any) -> list[dict[str, str]]:
    """[{name: what belongs to it}] as extraction reads it. A bare name is one without a description."""
    items = [] if value is None else value
    if not isinstance(items, list) or len(items) > MAX_CATEGORIES:
        raise InvalidInput(f"{name} must be a list of at most {MAX_CATEGORIES} of {{name: description}}")
    return [_category(f"{name}[{i}]", item) for i, item in enumerate(items)]


def _category(name: str, item: Any) -> dict[str, str]:
    if isinstance(item, str):
        item = {item: ""}
    if not isinstance(item, Mapping) or not item:
        raise InvalidInput(f"{name} must be {{name: description}} or a name, not {type(item).__name__}")
    for key, meaning in item.items():
        if not key.strip() or not isinstance(meaning, str):
            raise InvalidInput(f"{name}: a category is a name with a description, both strings")
        if len(key) > MAX_NAME_CHARS or len(meaning) > MAX_INSTRUCTIONS_CHARS:
            raise TooLarge(f"{name} is too long")
        check_text(key + meaning, name=name)
    return dict(item)


COLUMNS: dict[str, Callable[[str, Any], Any]] = {
    "name": lambda _, value: check_name(value),
    "description": _text(MAX_DESCRIPTION_CHARS),
    "custom_instructions": _text(MAX_INSTRUCTIONS_CHARS),
    "custom_categories": _categories,
    "extraction_policy": _policy,
}
KEPT: dict[str, Callable[[str, Any], Any]] = {
    "agent_custom_instructions": _text(MAX_INSTRUCTIONS_CHARS),
    "multilingual": _flag,
    "memory_depth": _short,
    "usecase_setting": _anything,
    "decay": _flag,
    "enable_graph": _flag,
    "version": _short,
    "retrieval_criteria": _anything,
    "inclusion_prompt": _text(MAX_INSTRUCTIONS_CHARS),
    "exclusion_prompt": _text(MAX_INSTRUCTIONS_CHARS),
}
SETTINGS = (*COLUMNS, *KEPT)
HALF_LIFE_DAYS = 30.0  # of a project that wants decay and does not say how fast
IGNORED = ("org_id", "project_id")  # the official client sends them along; the path says which project it is


def change_settings(project: Project, data: Mapping[str, Any], *, save: bool = True) -> Project:
    """All or none. An unknown name is refused, naming those that are known."""
    given = {name: value for name, value in data.items() if name not in IGNORED}
    unknown = [name for name in given if name not in SETTINGS]
    if unknown:
        raise InvalidInput(f"unknown setting {', '.join(map(repr, unknown))[:200]}; accepted are {', '.join(SETTINGS)}")
    checked = {name: {**COLUMNS, **KEPT}[name](name, value) for name, value in given.items()}
    if save and not checked:
        raise InvalidInput(f"nothing to change: send at least one of {', '.join(SETTINGS)}")
    if not save:
        _assign(project, checked)
        return project
    try:
        with transaction.atomic():
            project = Project.objects.select_for_update().select_related("organisation").get(pk=project.pk)
            _assign(project, checked)
            project.updated_at = timezone.now()
            project.save()
            _apply_decay(project, checked)
    except IntegrityError as exc:
        raise _name_is_taken(exc, str(checked.get("name"))) from exc
    return project


def _assign(project: Project, checked: Mapping[str, Any]) -> None:
    for name, value in checked.items():
        if name in COLUMNS:
            setattr(project, name, value)
    project.settings = {**project.settings, **{k: v for k, v in checked.items() if k in KEPT}}
    if "enable_graph" in checked:
        project.enable_graph = bool(checked["enable_graph"])


def _apply_decay(project: Project, checked: Mapping[str, Any]) -> None:
    """On: with the usual half-life, unless the project has one of its own. Null and false turn it off."""
    if "decay" not in checked:
        return
    own = LifecycleSettings.objects.filter(project=project, decay_half_life_days__isnull=False)
    if not checked["decay"]:
        ranking.set_decay(project, None)
    elif not own.exists():
        ranking.set_decay(project, HALF_LIFE_DAYS)


# Members


def read_email(value: Any) -> str:
    """Lower case: two spellings of one address are one person. Raises InvalidInput."""
    if not isinstance(value, str) or len(value) > MAX_EMAIL_CHARS:
        raise InvalidInput(f"email must be an address of at most {MAX_EMAIL_CHARS} characters")
    local, _, domain = check_text(value.strip(), name="email").rpartition("@")
    if not local or "." not in domain.strip(".") or any(c.isspace() for c in value.strip()):
        raise InvalidInput(f"email={value[:80]!r} is not an address such as ada@example.org")
    return value.strip().lower()


def read_role(value: Any, *, default: str | None = None) -> Membership.Role:
    name = default if value is None else value
    role = ROLES.get(name.upper()) if isinstance(name, str) else None
    if role is None:
        raise InvalidInput(f"role={str(value)[:40]!r} is unknown; accepted are {', '.join(ROLES)}")
    return role


def _find_or_make_person(email: str) -> Any:
    """Whoever has the address; else a new person, who cannot sign in before the operator sets a password."""
    people = get_user_model()
    found = people.objects.filter(email__iexact=email).order_by("pk").first()
    found = found or people.objects.filter(username=email).first()
    if found is not None:
        return found
    try:
        with transaction.atomic():
            return people.objects.create_user(email, email=email)  # without a password, none opens it
    except IntegrityError:  # somebody made it just now
        return people.objects.get(username=email)


@transaction.atomic
def add_project_member(project: Project, email: str, role: Membership.Role) -> Membership:
    """Raises Conflict where the person is a member already."""
    person = _find_or_make_person(email)
    member, made = Membership.objects.get_or_create(project=project, user=person, defaults={"role": role})
    if not made:
        raise Conflict(f"{email} is a member of the project already; PUT changes the role")
    OrganisationMembership.objects.get_or_create(organisation=project.organisation, user=person)
    return member


@transaction.atomic
def change_project_member(project: Project, email: str, role: Membership.Role) -> Membership:
    """Raises NotFound; Conflict where nobody would own the project any more."""
    member: Membership = _lock_member(Membership.objects.filter(project=project), email, "project")
    if member.role == Membership.Role.OWNER and role != Membership.Role.OWNER:
        _check_owner_remains(Membership.objects.filter(project=project), member, "project")
    member.role = role
    member.save(update_fields=["role"])
    return member


@transaction.atomic
def remove_project_member(project: Project, email: str) -> None:
    member = _lock_member(Membership.objects.filter(project=project), email, "project")
    if member.role == Membership.Role.OWNER:
        _check_owner_remains(Membership.objects.filter(project=project), member, "project")
    member.delete()


@transaction.atomic
def add_organisation_member(organisation: Organisation, email: str, role: Membership.Role) -> OrganisationMembership:
    person = _find_or_make_person(email)
    rows = OrganisationMembership.objects
    member, made = rows.get_or_create(organisation=organisation, user=person, defaults={"role": role})
    if not made:
        raise Conflict(f"{email} is a member of the organization already; PUT changes the role")
    _carry_to_projects(member)
    return member


@transaction.atomic
def change_organisation_member(organisation: Organisation, email: str, role: Membership.Role) -> OrganisationMembership:
    member: OrganisationMembership = _lock_member(organisation.memberships.all(), email, "organization")
    if member.role == Membership.Role.OWNER and role != Membership.Role.OWNER:
        _check_owner_remains(organisation.memberships.all(), member, "organization")
    was_owner, member.role = member.role == Membership.Role.OWNER, role
    member.save(update_fields=["role"])
    if was_owner and role != Membership.Role.OWNER:
        Membership.objects.filter(project__organisation=organisation, user=member.user).update(role=role)
    _carry_to_projects(member)
    return member


@transaction.atomic
def remove_organisation_member(organisation: Organisation, email: str) -> None:
    """And from all its projects."""
    member = _lock_member(organisation.memberships.all(), email, "organization")
    if member.role == Membership.Role.OWNER:
        _check_owner_remains(organisation.memberships.all(), member, "organization")
    Membership.objects.filter(project__organisation=organisation, user=member.user).delete()
    member.delete()


def _carry_to_projects(member: OrganisationMembership) -> None:
    """An organisation's owner is an owner of every project in it."""
    if member.role != Membership.Role.OWNER:
        return
    for project in Project.objects.filter(organisation=member.organisation, deleted_at__isnull=True):
        Membership.objects.update_or_create(project=project, user=member.user, defaults={"role": Membership.Role.OWNER})


def _lock_member(members: Any, email: str, what: str) -> Any:
    """All rows are locked, so that two requests do not each take away the other's last owner."""
    rows = list(members.select_for_update(of=("self",)).select_related("user").order_by("pk"))
    for row in rows:
        if email in (row.user.email.lower(), row.user.username.lower()):
            return row
    raise NotFound(f"{email} is not a member of the {what}")


def _check_owner_remains(members: Any, leaving: Any, what: str) -> None:
    if not members.filter(role=Membership.Role.OWNER).exclude(pk=leaving.pk).exists():
        raise Conflict(f"{leaving.user.email or leaving.user.username} is the {what}'s last owner: name another first")


# The end of a project


def delete_project(key: ApiKey, project: Project) -> ProjectDeletion:
    """Closes the project at once: its keys open nothing any more. Its rows go in the background.

    Raises Forbidden, and Conflict for the last project of an organisation, after which no key would be left.
    """
    check_owner(key, "delete a project")
    with transaction.atomic():
        Organisation.objects.select_for_update().get(pk=project.organisation_id)
        others = Project.objects.filter(organisation=project.organisation_id, deleted_at__isnull=True)
        others = others.filter(evaluation_corpus=None)  # no key opens a scratch project
        if not others.exclude(pk=project.pk).exists():
            raise Conflict(
                f"{project.name!r} is the organization's last project, and no key would be left: "
                f"DELETE /api/v1/orgs/organizations/{project.organisation.public_id}/ deletes all of it"
            )
        if project.pk == key.project_id and not _owner_keys(project).exists():
            raise Conflict(
                f"this key belongs to {project.name!r} and is the organization's last owner's key: make another "
                "with `manage.py keys create --role owner --project ...`, and delete the project with that"
            )
        return _close(project)


def _owner_keys(leaving: Project) -> Any:
    keys = ApiKey.objects.filter(project__organisation=leaving.organisation_id, role=ApiKey.Role.OWNER)
    return keys.filter(revoked_at__isnull=True, project__deleted_at__isnull=True).exclude(project=leaving)


def delete_organisation(key: ApiKey, organisation: Organisation) -> list[ProjectDeletion]:
    """All its projects, then itself. Raises Forbidden, and Conflict for the only organisation of the service."""
    check_owner(key, "delete the organization")
    with transaction.atomic():
        everybody = list(Organisation.objects.select_for_update().order_by("pk").values_list("pk", flat=True))
        projects = Project.objects.filter(organisation=organisation, deleted_at__isnull=True)
        alive = Project.objects.filter(organisation__in=everybody, deleted_at__isnull=True)
        if not alive.exclude(organisation=organisation).exists():
            raise Conflict(f"{organisation.name!r} is the only organization of this service and cannot be deleted")
        ProjectDeletion.objects.filter(organisation=organisation).update(with_organisation=True)
        return [_close(project, with_organisation=True) for project in projects.order_by("id")]


def _close(project: Project, *, with_organisation: bool = False) -> ProjectDeletion:
    now = timezone.now()
    deletion = ProjectDeletion.objects.create(
        organisation=project.organisation,
        project=project,
        project_public_id=project.public_id,
        project_name=project.name,
        with_organisation=with_organisation,
    )
    # The name is free again at once.
    gone = f"{project.name[: MAX_NAME_CHARS - 50]} (deleted {project.public_id})"
    Project.objects.filter(pk=project.pk).update(deleted_at=now, updated_at=now, name=gone)
    ApiKey.objects.filter(project=project, revoked_at__isnull=True).update(revoked_at=now)
    Webhook.objects.filter(project=project).update(is_active=False)
    return deletion


def unfinished_deletions(*, stale: bool = False) -> Any:
    rows = ProjectDeletion.objects.filter(status__in=[JobStatus.PENDING, JobStatus.RUNNING])
    return rows.filter(updated_at__lt=timezone.now() - STALE) if stale else rows


def run_project_deletion(deletion_id: int) -> datetime | None:
    """Removes everything of the project, in transactions of bounded size. Safe to run twice, and at once.

    Returns when to run it again, where a scope was busy or an error may pass.
    """
    with advisory_lock(Kind.PROJECT, deletion_id) as held:
        deletion = unfinished_deletions().select_related("project__organisation").filter(pk=deletion_id).first()
        if not held or deletion is None:
            return None
        rows = ProjectDeletion.objects.filter(pk=deletion.pk)
        rows.update(status=JobStatus.RUNNING, num_attempts=deletion.num_attempts + 1, updated_at=timezone.now())
        try:
            busy = _remove(deletion)
        except Exception as exc:
            logger.exception("the deletion of project %s failed", deletion.project_public_id)
            failed = deletion.num_attempts + 1 >= MAX_ATTEMPTS
            status = JobStatus.FAILED if failed else JobStatus.PENDING
            rows.update(status=status, error=f"{type(exc).__name__}: {exc}", updated_at=timezone.now())
            return None if failed else timezone.now() + BUSY_PAUSE * 2**deletion.num_attempts
        if busy:
            rows.update(status=JobStatus.PENDING, num_attempts=deletion.num_attempts, updated_at=timezone.now())
            return timezone.now() + BUSY_PAUSE
        return None


def _remove(deletion: ProjectDeletion) -> bool:
    """True where some scope was in a worker's hands."""
    project = deletion.project
    if project is not None:
        _delete_in_batches(Webhook.objects.filter(project=project))
        _count(deletion, "exports", _delete_in_batches(MemoryExport.objects.filter(project=project)))
        _count(deletion, "evaluations", _delete_in_batches(EvaluationRun.objects.filter(project=project), size=1))
        for scratch in Project.objects.filter(evaluation_corpus__owner=project, deleted_at=None):
            _close(scratch, with_organisation=deletion.with_organisation)  # the sweep carries this deletion out
        _count(deletion, "imports", _delete_in_batches(ImportJob.objects.filter(project=project), size=1))
        busy = False
        for scope_id in Scope.objects.filter(project=project).order_by("id").values_list("pk", flat=True):
            with advisory_lock(Kind.SCOPE, scope_id) as held:
                if not held:
                    busy = True
                    continue
                for what, number in forget_scope(scope_id).items():
                    _count(deletion, what, number)
            ProjectDeletion.objects.filter(pk=deletion.pk).update(deleted=deletion.deleted, updated_at=timezone.now())
        if busy:
            return True
        document_storage.destroy_orphans(project.pk)
        _count(deletion, "events", _delete_in_batches(Event.objects.filter(project=project)))
    _finish(deletion, project)
    return False


def _count(deletion: ProjectDeletion, what: str, number: int) -> None:
    deletion.deleted = {**deletion.deleted, what: deletion.deleted.get(what, 0) + number}


def _delete_in_batches(rows: Any, *, size: int = 500) -> int:
    num_deleted = 0
    while True:
        ids = list(rows.order_by("pk").values_list("pk", flat=True)[:size])
        if not ids:
            return num_deleted
        with transaction.atomic():
            rows.model.objects.filter(pk__in=ids).delete()
        num_deleted += len(ids)


@transaction.atomic
def _finish(deletion: ProjectDeletion, project: Project | None) -> None:
    """The project's row, and what still hangs on it; with the last one its organisation, where that was asked."""
    organisation = deletion.organisation
    now = timezone.now()
    if project is not None:
        project.delete()
    ProjectDeletion.objects.filter(pk=deletion.pk).update(
        status=JobStatus.SUCCEEDED, deleted=deletion.deleted, error="", completed_at=now, updated_at=now
    )
    if deletion.with_organisation and organisation is not None:
        Organisation.objects.select_for_update().get(pk=organisation.pk)
        if not Project.objects.filter(organisation=organisation).exists():
            organisation.delete()


def find_deletion(organisation: Organisation, public_id: UUID) -> ProjectDeletion:
    found = ProjectDeletion.objects.filter(organisation=organisation, public_id=public_id).first()
    if found is None:
        raise NotFound(f"deletion {public_id} was not found in this organization")
    return found
