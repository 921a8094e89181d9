"""Django settings. Every choice an operator has is in config.py; this file only puts it where Django looks."""

from __future__ import annotations

from pathlib import Path

from kombu import Exchange, Queue
from psycopg.conninfo import conninfo_to_dict

from .config import read_environment, read_or_make_secret
from .embedded import broker_url, postgres_socket_dir

BASE_DIR = Path(__file__).resolve().parent.parent
ENV = read_environment()
DATA_DIR = ENV.data_dir

DEBUG = ENV.debug
SECRET_KEY = ENV.secret_key or read_or_make_secret(DATA_DIR / "secret-key")
ALLOWED_HOSTS = list(ENV.allowed_hosts) or ["localhost", "127.0.0.1", "[::1]"]
CSRF_TRUSTED_ORIGINS = list(ENV.csrf_trusted_origins)

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "django_htmx",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "memory_service",
    "frontend",
]

MIDDLEWARE = [
    "memory_service.middleware.RequestId",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "memory_service.middleware.NormalisePath",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
]

ROOT_URLCONF = "memory_service.urls"
WSGI_APPLICATION = "memory_service.wsgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
APPEND_SLASH = False  # the protocol's clients write their slashes, and a redirect would drop a POST's body

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]


def _database() -> dict[str, object]:
    if not ENV.database_url:
        return {"NAME": "memory", "USER": "postgres", "HOST": str(postgres_socket_dir(DATA_DIR))}
    parts = conninfo_to_dict(ENV.database_url)
    named = {"NAME": "dbname", "USER": "user", "PASSWORD": "password", "HOST": "host", "PORT": "port"}
    options = {k: v for k, v in parts.items() if k not in named.values()}
    return {name: parts.get(key) or "" for name, key in named.items()} | {"OPTIONS": options}


DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "CONN_HEALTH_CHECKS": True,  # after a restart of the database the pool holds dead connections
        **_database(),
    }
}
_OPTIONS = DATABASES["default"].setdefault("OPTIONS", {})
assert isinstance(_OPTIONS, dict)  # set by us, just above
if ENV.database_pool:  # off behind a pooler of your own, which must pool sessions: workers hold advisory locks
    _OPTIONS["pool"] = {"min_size": 1, "max_size": ENV.web_threads + 2, "timeout": 10}

CELERY_BROKER_URL = ENV.celery_broker_url or broker_url(DATA_DIR)
CELERY_TASK_IGNORE_RESULT = True  # the database holds what came of a task
CELERY_TASK_ACKS_LATE = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_CONCURRENCY = ENV.worker_concurrency
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TASK_DEFAULT_QUEUE = "default"
# A worker takes from both in turns: however many documents were sent, the next memory waits for one turn of one.
CELERY_TASK_QUEUES = [Queue(name, Exchange(name), routing_key=name) for name in ("default", "documents")]
CELERY_TASK_ROUTES = {"memory_service.tasks.process_document": {"queue": "documents", "routing_key": "documents"}}
CELERY_BROKER_TRANSPORT_OPTIONS = {"socket_connect_timeout": 2, "socket_timeout": 5}
CELERY_TIMEZONE = "UTC"
CELERY_BEAT_SCHEDULE = {
    "sweep": {"task": "memory_service.tasks.sweep", "schedule": 10.0, "options": {"expires": 10}},
    "compact-changes": {
        "task": "memory_service.tasks.compact_changes",
        "schedule": 60.0,
        "options": {"expires": 60},
    },
    "entities": {
        "task": "memory_service.tasks.resolve_entities",
        "schedule": 20.0,
        "options": {"expires": 20},
    },
    "sweep-jobs": {"task": "memory_service.platform_tasks.sweep_jobs", "schedule": 10.0, "options": {"expires": 10}},
    "webhooks": {
        "task": "memory_service.platform_tasks.deliver_webhooks",
        "schedule": 2.0,
        "options": {"expires": 2},
    },
    "tidy": {"task": "memory_service.platform_tasks.tidy", "schedule": 600.0, "options": {"expires": 600}},
    "summaries": {
        "task": "memory_service.tasks.refresh_summaries",
        "schedule": 30.0,
        "options": {"expires": 30},
    },
    "profiles": {"task": "memory_service.tasks.refresh_profiles", "schedule": 60.0, "options": {"expires": 60}},
    "categories": {"task": "memory_service.tasks.follow_categories", "schedule": 30.0, "options": {"expires": 30}},
}

STATIC_URL = "/static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
WHITENOISE_USE_FINDERS = True  # `make run` serves the dashboard's files without a collectstatic step
STORAGES = {"staticfiles": {"BACKEND": "whitenoise.storage.CompressedStaticFilesStorage"}}

LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "sessions"
LOGOUT_REDIRECT_URL = "login"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]

LANGUAGE_CODE = "en-gb"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = False

# A little over the largest add we accept, so that our own message about the limit is the one seen.
DATA_UPLOAD_MAX_MEMORY_SIZE = 16 * 1024 * 1024

SECURE_CONTENT_TYPE_NOSNIFF = True
X_FRAME_OPTIONS = "DENY"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
if ENV.secure:
    SECURE_SSL_REDIRECT = True
    SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$"]
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SECURE_HSTS_SECONDS = 31_536_000
    SECURE_HSTS_INCLUDE_SUBDOMAINS = True
    SECURE_HSTS_PRELOAD = True
    SESSION_COOKIE_SECURE = True
    CSRF_COOKIE_SECURE = True

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["memory_service.api.authentication.KeyAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["memory_service.api.parsing.StrictJSONParser"],
    "DEFAULT_SCHEMA_CLASS": "memory_service.api.schema.Schema",
    "EXCEPTION_HANDLER": "memory_service.api.errors.handle",
    "UNAUTHENTICATED_USER": None,
    "DEFAULT_PAGINATION_CLASS": None,
}

SPECTACULAR_SETTINGS = {
    "TITLE": "Memory service",
    "DESCRIPTION": "A memory and context service for agents. Speaks the mem0 protocol; extensions are marked +.",
    "VERSION": "0.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SERVE_AUTHENTICATION": [],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"request_id": {"()": "memory_service.logs.RequestIdFilter"}},
    "formatters": {
        "json": {"()": "memory_service.logs.JSONFormatter"},
        "text": {"format": "%(asctime)s %(levelname)-7s %(name)s %(message)s [%(request_id)s]"},
    },
    "handlers": {
        "console": {
            "class": "logging.StreamHandler",
            "formatter": ENV.log_format,
            "filters": ["request_id"],
        }
    },
    "root": {"handlers": ["console"], "level": ENV.log_level},
    "loggers": {
        "django.server": {"handlers": ["console"], "level": "WARNING", "propagate": False},
        "django.request": {"level": "ERROR"},  # the RequestId middleware writes a line for every request
        "celery.app.trace": {"level": "WARNING"},
        "httpx": {"level": "WARNING"},
        "LiteLLM": {"level": "WARNING"},
    },
}
