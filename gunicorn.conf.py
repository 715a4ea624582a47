"""Configuration of gunicorn, derived from Trainyard's settings."""

import os
import sys
from pathlib import Path

# Gunicorn looks for modules in the working directory first, and another `models` may lie there.
_house = str(Path(__file__).resolve().parent)
if sys.path[0] != _house:
    sys.path.insert(0, _house)

from service import log, tracing  # noqa: E402
from service.access.exposure import require_keys  # noqa: E402
from service.addresses import hindrance  # noqa: E402
from service.processes import start  # noqa: E402
from service.settings import Settings, SettingsError  # noqa: E402
from service.web import shared_metrics  # noqa: E402

try:
    _settings = Settings.read()
    _settings.prepare()
    require_keys(_settings)
    log.configure("web", _settings.log_format)
except SettingsError as error:
    print(f"trainyard: {error}", file=sys.stderr)
    raise SystemExit(4) from None  # Gunicorn's exit status for an application that fails to load.
# In a process of its own, as it starts threads, after which gunicorn must not fork. It says what is wrong.
if _settings.storage and start(_settings, "upkeep", "storage").wait():
    raise SystemExit(4)
shared_metrics.prepare()

bind = _settings.bind
workers = _settings.workers
worker_class = "service.web.worker.front_door.FrontDoor"
logger_class = "service.web.gunicorn_log.GunicornLog"
threads = _settings.threads
# Connections of one worker; idle and slow ones cost little.
worker_connections = 20_000
# Limits the time between two heartbeats of a worker, not the time of a request.
timeout = 60
graceful_timeout = 10
keepalive = 5
control_socket_disable = True


def on_starting(server):
    """End with one sentence if another process has the address. One that takes over has the socket already."""
    if server.master_pid or server.cfg.bind != [_settings.bind] or "LISTEN_FDS" in os.environ:
        return
    problem = hindrance(_settings.bind)
    if problem is not None:
        print(f"trainyard: {problem}", file=sys.stderr)
        raise SystemExit(1)


def post_fork(_server, _worker):
    """A worker waits for no reader of the log."""
    log.output.write_in_background()


def worker_exit(_server, _worker):
    """Send the last spans, and write the last lines."""
    tracing.flush(2.0)
    log.output.flush(1.0)


def child_exit(_server, worker):
    """Keep what a worker has counted."""
    shared_metrics.worker_ended(worker.pid)


def on_exit(_server):
    """Leave no files of metrics behind."""
    shared_metrics.end()
