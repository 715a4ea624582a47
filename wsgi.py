"""The whole service on one machine: ``gunicorn wsgi:app``."""

import gc
import sys

from service.jobs.watchdog import keep_trainer
from service.settings import Settings, SettingsError
from service.web.app import create_app

try:
    settings = Settings.read()
    settings.prepare()
    app = create_app(settings)
except SettingsError as error:
    print(f"trainyard: {error}", file=sys.stderr)
    raise SystemExit(4) from None  # gunicorn's own status for an application that cannot be loaded

if settings.trainer == "auto":
    keep_trainer(settings)

# What the start has made stays. A full collection that looks at all of it takes as long as many requests.
gc.collect()
gc.freeze()
