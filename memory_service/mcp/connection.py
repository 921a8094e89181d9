"""Who is connected and whose memory that opens. Checked anew for every request: a revoked key opens nothing more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from memory_service.errors import Forbidden, Unauthorized
from memory_service.filters import ENTITY_FIELDS, Filter, Logic, Test
from memory_service.ingest import EntityIds
from memory_service.models import ApiKey, Project
from memory_service.validation import check_name

UNKNOWN_KEY = "Invalid API key: unknown or revoked. `manage.py keys create` makes one."
UNBOUND = (
    "This API key opens a whole project, and a connection is bound to one user, agent, app or run: use a key that is "
    "bound (`manage.py keys create --user-id ann`), or name whose memory it is when connecting, by {how}."
)


@dataclass(frozen=True, slots=True)
class Connection:
    """A key that was valid a moment ago, and the scope that its holder cannot leave."""

    key: ApiKey
    ids: EntityIds

    @property
    def project(self) -> Project:
        return self.key.project

    @property
    def may_write(self) -> bool:
        return self.key.role != ApiKey.Role.VIEWER

    @property
    def named(self) -> dict[str, str]:
        found = {field: getattr(self.ids, field) for field in ENTITY_FIELDS}
        return {field: value for field, value in found.items() if value is not None}

    @property
    def filter(self) -> Filter:
        """Lets through what belongs to all that is named. Made of tests, not parsed: `*` would mean anybody."""
        return Logic("AND", tuple(Test(field, "eq", value) for field, value in self.named.items()))


def open_connection(given_key: str, asked: Mapping[str, str], *, how: str) -> Connection:
    """asked: user_id, agent_id, app_id, run_id, as far as whoever made the connection named them. how: where they can.

    Raises Unauthorized for a key that opens nothing, InvalidInput for a name that cannot be one, and Forbidden where
    nobody is named or another than the key is bound to.
    """
    key = ApiKey.find(given_key) if given_key else None
    if key is None:
        raise Unauthorized(UNKNOWN_KEY if given_key else "No API key: connect with one.")
    ids = dict(key.bound_to)
    for field in ENTITY_FIELDS:
        if field in asked:
            value = check_name(asked[field], name=field)
            if ids.setdefault(field, value) != value:
                raise Forbidden(f"this key is bound to another {field} than {value!r}")
    if not ids:
        raise Forbidden(UNBOUND.format(how=how))
    return Connection(key, EntityIds(**ids))
