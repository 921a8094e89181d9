from __future__ import annotations

import uuid

from django.db import models


class PublicModel(models.Model):
    """Rows are joined by a bigint and named to the outside by a UUID that says nothing and cannot be guessed."""

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)

    class Meta:
        abstract = True
