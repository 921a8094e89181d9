from __future__ import annotations

from django.urls import include, path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerView

from .api import status

urlpatterns = [
    path("healthz", status.healthz),
    path("readyz", status.readyz),
    path("api/schema/", SpectacularAPIView.as_view(), name="schema"),
    path("api/docs/", SpectacularSwaggerView.as_view(url_name="schema"), name="docs"),
    path("", include("memory_service.api.urls")),
    path("", include("frontend.urls")),
]

handler400 = "memory_service.api.errors.bad_request"
handler404 = "memory_service.api.errors.page_not_found"
handler500 = "memory_service.api.errors.server_error"
