# The service in a container: gunicorn, which starts a trainer; or one of the two (see docker-compose.yml).
# The digest is that of 3.13.15-slim-trixie for all processors. Renew it with the tag, after
#   docker buildx imagetools inspect python:3.13-slim
FROM python:3.13-slim@sha256:7c61056e61ac89e852de05f3dc6fa51a6dd2181797bceed46aa725dd7cb2cd3b

ENV PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    PIP_NO_CACHE_DIR=1

WORKDIR /app
COPY requirements.lock requirements-build.lock ./
# Of onnx, the data of its own tests and its sources in C++ are left out: half of it.
RUN pip install --disable-pip-version-check --require-hashes -r requirements.lock \
    && find /usr/local/lib \( -path '*/onnx/backend/test' -o -path '*/onnx/*.cc' \) -prune -exec rm -r {} + \
    && groupadd --gid 10001 trainyard \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin trainyard \
    && install -d -o trainyard -g trainyard /data

COPY pyproject.toml README.md wsgi.py gunicorn.conf.py ./
COPY nncore ./nncore
COPY models ./models
COPY service ./service
COPY trainyard ./trainyard
# The command `trainyard`, which runs what is here. Nothing stays of what builds it. SageMaker calls the command `serve`.
RUN pip install --disable-pip-version-check --require-hashes --target /build -r requirements-build.lock \
    && PYTHONPATH=/build pip install --disable-pip-version-check --no-deps --no-build-isolation --editable . \
    && rm -r /build \
    && ln -s /app/service/cli/container_serve /usr/local/bin/serve

ENV TRAINYARD_DATA=/data \
    TRAINYARD_BIND=0.0.0.0:8000
# By number, so that Kubernetes can see that it is not root. It writes to /data, /tmp and /dev/shm alone.
USER 10001:10001
VOLUME /data
EXPOSE 8000 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=15s \
    CMD ["python", "-m", "service", "healthcheck"]
# Workers write their heartbeat to memory instead of the container's disk.
CMD ["gunicorn", "--worker-tmp-dir", "/dev/shm", "wsgi:app"]
