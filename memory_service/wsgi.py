from __future__ import annotations

import os

from django.conf import settings
from django.core.wsgi import get_wsgi_application

from .middleware import read_chunked

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "memory_service.settings")

application = read_chunked(get_wsgi_application(), limit=settings.DATA_UPLOAD_MAX_MEMORY_SIZE)
