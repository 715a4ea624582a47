"""The service: HTTP, database, processes, settings."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask

    from service.settings import Settings

__version__ = "0.1.0"

__all__ = ["__version__", "create_app"]


def create_app(settings: Settings | None = None) -> Flask:
    """The WSGI application; reads the settings from the environment where none are given. Raises SettingsError.

    The imports stand here so that the trainer, which shares this package, stays small.
    """
    from flask import Flask
    from flask_swagger_ui import get_swaggerui_blueprint
    from threadpoolctl import threadpool_limits

    from models.serving import ServedModels
    from service import errors
    from service.checkpoints import checkpoints
    from service.context import Context
    from service.database import Database
    from service.datasets import datasets
    from service.evaluation import evaluation
    from service.jobs import jobs
    from service.models import models
    from service.openapi import Documentation
    from service.operations import operations
    from service.predictions import PredictionServer, checked_file, predictions
    from service.settings import Settings
    from service.storage import Storage
    from service.training import training
    from service.wire import OrjsonProvider

    settings = settings or Settings.read()
    database, storage = Database(settings), Storage(settings.data)
    database.migrate()
    # A prediction's products are small, and workers times threads must fit the cores.
    threadpool_limits(1)

    app = Flask("trainyard", static_folder=None)
    app.json = OrjsonProvider(app)
    app.config.update(
        MAX_CONTENT_LENGTH=settings.max_body_bytes,
        API_TITLE="Trainyard",
        API_VERSION=__version__,
        OPENAPI_VERSION="3.1.0",
        OPENAPI_URL_PREFIX="/",
        API_SPEC_OPTIONS={"info": {"description": "Trains neural-network classifiers and serves their predictions."}},
    )
    served = ServedModels(settings.served_bytes, partial(checked_file, database, storage))
    parts = app.extensions["trainyard"] = Context(settings, database, storage, served)
    app.wsgi_app = PredictionServer(app.wsgi_app, parts)  # type: ignore[method-assign]
    errors.install(app)
    documentation = Documentation(app)
    for blueprint in (models, datasets, training, jobs, checkpoints, predictions, evaluation, operations):
        documentation.register_blueprint(blueprint)
    app.register_blueprint(get_swaggerui_blueprint("/docs", "/openapi.json", config={"app_name": "Trainyard"}))
    return app
