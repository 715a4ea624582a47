"""Gunicorn's settings, taken from Trainyard's own table."""

from service.settings import Settings, SettingsError

try:
    _settings = Settings.read()
    _settings.prepare()
except SettingsError as error:
    raise SystemExit(f"trainyard: {error}") from None

bind = _settings.bind
workers = _settings.workers
worker_class = "service.web.gunicorn_worker.WebWorker"
threads = _settings.threads
# A heartbeat of the worker, not a limit on a request.
timeout = 60
graceful_timeout = 10
keepalive = 5
control_socket_disable = True
