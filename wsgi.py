"""The whole service on one machine: ``gunicorn wsgi:app``."""

import gc
import sys

import sqlalchemy as sa

from service.access.exposure import require_keys
from service.jobs.watchdog import start_watchdog
from service.settings import Settings, SettingsError
from service.store.storage_errors import start_problem
from service.web.app import create_app

try:
    settings = Settings.read()
    settings.prepare()
    require_keys(settings)
    try:
        app = create_app(settings)
        if settings.trainer == "auto":
            start_watchdog(settings)
    except (OSError, sa.exc.OperationalError) as error:
        raise SettingsError(start_problem(error, settings.data)) from None
except SettingsError as error:
    print(f"trainyard: {error}", file=sys.stderr)
    raise SystemExit(4) from None  # Gunicorn's exit status for an application that fails to load.

# Exclude the objects made so far from garbage collection: scanning them takes as long as many requests.
gc.collect()
gc.freeze()
