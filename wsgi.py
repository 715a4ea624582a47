"""The whole service on one machine: ``gunicorn wsgi:app``."""

import gc
import sys

from service.access.exposure import require_keys
from service.jobs.watchdog import start_watchdog
from service.settings import Settings, SettingsError
from service.web.app import create_app

try:
    settings = Settings.read()
    settings.prepare()
    require_keys(settings)
    app = create_app(settings)
except SettingsError as error:
    print(f"trainyard: {error}", file=sys.stderr)
    raise SystemExit(4) from None  # Gunicorn's exit status for an application that fails to load.

if settings.trainer == "auto":
    start_watchdog(settings)

# Exclude the objects made so far from garbage collection: scanning them takes as long as many requests.
gc.collect()
gc.freeze()
