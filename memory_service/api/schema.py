"""Names for the operations in the OpenAPI document."""

from __future__ import annotations

import re

from drf_spectacular.openapi import AutoSchema


class Schema(AutoSchema):
    def get_operation_id(self) -> str:
        """`get_v1_memories_by_memory_id`: the path says what it is; the library's own names collide."""
        words = re.sub(r"\{(\w+)\}", r"by_\1", self.path).strip("/")
        return re.sub(r"\W+", "_", f"{self.method.lower()}_{words}")
