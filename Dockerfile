# One image for web, worker, beat and migrate: docker-compose.yml chooses the command.

FROM python:3.11-slim AS build
# An index that has the build of torch you want, e.g. one for CPUs alone. Empty: pip's own default, whose build has
# CUDA on Linux and is some gigabytes larger.
ARG TORCH_INDEX_URL=
# One more package index, e.g. a mirror of your own.
ARG EXTRA_INDEX_URL=
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /venv
ENV PATH=/venv/bin:$PATH
WORKDIR /app
COPY requirements/base.txt requirements/base.txt
# torch comes first, so that its index is asked for torch and for nothing else.
RUN if [ -n "$TORCH_INDEX_URL" ]; then \
        pip install torch --no-deps --constraint requirements/base.txt --index-url "$TORCH_INDEX_URL"; \
    fi \
    && pip install -r requirements/base.txt ${EXTRA_INDEX_URL:+--extra-index-url "$EXTRA_INDEX_URL"}
COPY manage.py LICENSE NOTICE ./
COPY memory_service memory_service
COPY chunking chunking
COPY graph graph
COPY accel accel
COPY frontend frontend
# The secret is for this one command; nothing keeps it.
RUN SECRET_KEY=only-for-collectstatic DATA_DIR=/tmp/data python manage.py collectstatic --noinput \
    && python -m compileall -q /app

FROM python:3.11-slim
LABEL org.opencontainers.image.title="memory-service" \
      org.opencontainers.image.description="Memory and context service for AI agents" \
      org.opencontainers.image.licenses="Apache-2.0"
ENV PATH=/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HF_HOME=/data/huggingface \
    HOST=0.0.0.0 \
    PORT=8000 \
    DATA_DIR=/data
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /data --shell /usr/sbin/nologin memory \
    && install -d -o memory -g memory -m 0700 /data
COPY --from=build /venv /venv
COPY --from=build /app /app
WORKDIR /app
EXPOSE 8000
VOLUME /data
# For the web process, which is what the image runs by default. The others are checked by docker-compose.yml.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen('http://127.0.0.1:' + os.environ['PORT'] + '/healthz', timeout=4)"]
CMD ["gunicorn", "-c", "memory_service/gunicorn.py", "memory_service.wsgi"]
USER 10001:10001
