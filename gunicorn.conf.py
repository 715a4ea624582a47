"""Configuration of gunicorn, derived from Trainyard's settings."""

import sys
from pathlib import Path

# Gunicorn looks for modules in the working directory first, and another `models` may lie there.
_house = str(Path(__file__).resolve().parent)
if sys.path[0] != _house:
    sys.path.insert(0, _house)

from service.access.exposure import require_keys  # noqa: E402
from service.settings import Settings, SettingsError  # noqa: E402

try:
    _settings = Settings.read()
    _settings.prepare()
    require_keys(_settings)
except SettingsError as error:
    raise SystemExit(f"trainyard: {error}") from None

bind = _settings.bind
workers = _settings.workers
worker_class = "service.web.worker.front_door.FrontDoor"
threads = _settings.threads
# Connections of one worker; idle and slow ones cost little.
worker_connections = 20_000
# Limits the time between two heartbeats of a worker, not the time of a request.
timeout = 60
graceful_timeout = 10
keepalive = 5
control_socket_disable = True
