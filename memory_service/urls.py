from __future__ import annotations

from django.urls import include, path
from drf_spectacular.views import SpectacularAPIView, SpectacularRedocView, SpectacularSwaggerView

from .api import status

urlpatterns = [
    path("healthz", status.healthz),
    path("readyz", status.readyz),
    path("api/schema/", SpectacularAPIView.as_view(), name="schema"),
    path("api/docs/", SpectacularSwaggerView.as_view(url_name="schema"), name="docs"),
    path("api/reference/", SpectacularRedocView.as_view(url_name="schema"), name="reference"),
    path("", include("memory_service.api.urls")),
    path("", include("frontend.urls")),
]

handler404 = "memory_service.api.errors.page_not_found"
handler500 = "memory_service.api.errors.server_error"
