"""+ What happens to memories as time passes: decay, a project's choice."""

from __future__ import annotations

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.decorators import api_view
from rest_framework.request import Request
from rest_framework.response import Response

from memory_service import categories, ranking
from memory_service.models import LifecycleSettings

from . import handlers
from .memories import body_of
from .serializers import NumberField, validated


class LifecycleSerializer(serializers.Serializer[Any]):
    decay_half_life_days = NumberField(
        allow_null=True, min_value=ranking.MIN_HALF_LIFE_DAYS, max_value=ranking.MAX_HALF_LIFE_DAYS
    )


@extend_schema(methods=["PUT"], request=LifecycleSerializer, responses=OpenApiTypes.OBJECT, tags=["lifecycle +"])
@extend_schema(methods=["GET"], responses=OpenApiTypes.OBJECT, tags=["lifecycle +"])
@api_view(["GET", "PUT"])
def lifecycle(request: Request) -> Response:
    """Decay, null where it is off; the factors of feedback; the categories that facts are sorted into."""
    project = handlers.project_of(request)
    if request.method == "PUT":
        asked = validated(LifecycleSerializer(data=body_of(request))).validated_data
        ranking.set_decay(project, asked["decay_half_life_days"])
    row = LifecycleSettings.objects.filter(project=project).first()
    return Response(
        {
            "decay_half_life_days": row.decay_half_life_days if row else None,
            "decay_floor": ranking.DECAY_FLOOR,
            "feedback_factors": ranking.FEEDBACK_FACTOR,
            "categories": [{name: meaning} for name, meaning in categories.of_project(project).items()],
        }
    )
