"""How often a scope's memories have changed: what tells a process that what it keeps of a scope is out of date."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import connection, models

from .conversation import Scope


class ScopeChange(models.Model):
    """One row for each statement that touched a scope's memories or vectors, written by triggers in its transaction.

    The scope's version is the sum of the weights. Rows are only added, so that writers never wait for one another;
    `compact` puts the rows of a scope together into one of the same sum.
    """

    scope = models.ForeignKey(Scope, models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+")
    weight = models.BigIntegerField(default=1)

    class Meta:
        indexes = [models.Index(fields=["scope"], include=["weight"], name="scope_change_sum")]

    def __str__(self) -> str:
        return f"{self.weight} changes in scope {self.scope_id}"


def versions_of(scope_ids: Sequence[int]) -> dict[int, int]:
    """For each scope that has ever changed, its version. Read it before what it vouches for."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT scope_id, sum(weight)::bigint FROM memory_service_scopechange WHERE scope_id = ANY(%s) "
            "GROUP BY scope_id",
            [list(scope_ids)],
        )
        return dict(cursor.fetchall())


def compact(*, min_rows: int = 50) -> int:
    """Sums up the rows of the scopes that have at least min_rows, and drops those of scopes that are gone.

    Returns how many scopes were touched. One statement a scope: no reader sees a sum in between.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "DELETE FROM memory_service_scopechange c WHERE NOT EXISTS "
            "(SELECT 1 FROM memory_service_scope s WHERE s.id = c.scope_id)"
        )
        cursor.execute(
            "SELECT scope_id FROM memory_service_scopechange GROUP BY scope_id HAVING count(*) >= %s", [min_rows]
        )
        crowded = [row[0] for row in cursor.fetchall()]
        for scope_id in crowded:
            cursor.execute(
                "WITH gone AS (DELETE FROM memory_service_scopechange WHERE scope_id = %s RETURNING weight) "
                "INSERT INTO memory_service_scopechange (scope_id, weight) "
                "SELECT %s, sum(weight) FROM gone HAVING count(*) > 0",
                [scope_id, scope_id],
            )
    return len(crowded)
