# The service in a container: gunicorn, which starts a trainer; or one of the two (see docker-compose.yml).
FROM python:3.13-slim

ENV PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    PIP_NO_CACHE_DIR=1

WORKDIR /app
COPY requirements.lock ./
RUN pip install --disable-pip-version-check --require-hashes -r requirements.lock \
    && useradd --uid 10001 --create-home trainyard \
    && install -d -o trainyard -g trainyard /data

COPY wsgi.py gunicorn.conf.py ./
COPY nncore ./nncore
COPY models ./models
COPY service ./service

ENV TRAINYARD_DATA=/data \
    TRAINYARD_BIND=0.0.0.0:8000
USER trainyard
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=15s \
    CMD ["python", "-m", "service", "healthcheck"]
# Workers write their heartbeat to memory instead of the container's disk.
CMD ["gunicorn", "--worker-tmp-dir", "/dev/shm", "wsgi:app"]
