from __future__ import annotations

from django.contrib.auth.views import LogoutView
from django.urls import path
from django.views.generic import RedirectView

from . import views

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="sessions"), name="home"),
    path("login/", views.login, name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
    path("sessions/", views.list_sessions, name="sessions"),
    path("sessions/<uuid:public_id>/", views.show_session, name="session"),
    path("projects/<uuid:public_id>/choose/", views.choose_project, name="choose_project"),
]
