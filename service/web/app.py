"""The WSGI application."""

from __future__ import annotations

from flask import Flask
from flask_swagger_ui import get_swaggerui_blueprint
from threadpoolctl import threadpool_limits

from models.version import VERSION
from service.access.key_ring import KeyRing
from service.serving.resolution import Serving
from service.settings import Settings
from service.store.database import Database
from service.store.files import FileStore
from service.web import errors
from service.web.console import pages
from service.web.context import Context
from service.web.front import ServiceFront
from service.web.gate import Gate, GateServer
from service.web.json_bodies import OrjsonProvider
from service.web.memory import MemoryServer
from service.web.names_in_paths import BareName
from service.web.openapi import Documentation
from service.web.protocols import (
    mlflow,
    native,
    open_inference,
    open_inference_repository,
    open_inference_statistics,
    tensorflow,
)
from service.web.protocols.readers import readers_by_path
from service.web.protocols.server import PredictionServer
from service.web.request_metrics import RequestMetrics
from service.web.request_records import RequestRecords
from service.web.routes import (
    aliases,
    audit,
    checkpoints,
    dataset_contents,
    datasets,
    evaluation,
    events,
    exports,
    held_out,
    history,
    index,
    jobs,
    key,
    models,
    operations,
    publishing,
    sweeps,
    training,
)
from service.web.shadows import Shadows

__all__ = ["create_app"]


def create_app(settings: Settings | None = None) -> Flask:
    """Create the WSGI application. Reads settings from the environment if none are given. Raises SettingsError."""
    settings = settings or Settings.read()
    database, files = Database(settings), FileStore.of(settings, kept=settings.min_free_bytes)
    database.migrate()
    # A prediction's matrix products are small, and workers times threads must fit the cores.
    threadpool_limits(1)

    app = Flask("trainyard", static_folder=None)
    app.json = OrjsonProvider(app)
    # Else a path with two slashes is answered with a page that leads to another one, at the host that the client names.
    app.url_map.merge_slashes = False
    app.url_map.converters["bare"] = BareName
    app.config.update(
        MAX_CONTENT_LENGTH=settings.max_body_bytes,
        API_TITLE="Trainyard",
        API_VERSION=VERSION,
        OPENAPI_VERSION="3.1.0",
        OPENAPI_URL_PREFIX="/",
        API_SPEC_OPTIONS={
            # Nothing is needed as long as there are no keys.
            "security": [{"key": []}, {"password": []}, {}],
            "info": {
                "description": "Trains neural-network classifiers and serves their "
                "predictions. A request body may be compressed (`Content-Encoding: gzip`); the limit of its size "
                "is that of what it holds."
            },
        },
    )
    serving = Serving(database, files, settings.served_bytes)
    requests = RequestRecords(app, RequestMetrics(serving.cache_uses), logs=settings.access_log == "on")
    parts = app.extensions["trainyard"] = Context.make(settings, database, files, serving, requests)
    shadows = Shadows(database, serving, files, parts.computing, requests.metrics.shadows, settings.shadow_bytes)
    requests.shadowed = shadows.take
    gate = Gate(app, settings, KeyRing(database))
    predictions = PredictionServer(app.wsgi_app, parts, readers_by_path(settings), batches=settings.batching == "on")
    app.wsgi_app = GateServer(MemoryServer(predictions, parts.memory), gate)  # type: ignore[method-assign]
    app.front = ServiceFront(app, parts, predictions, gate)  # type: ignore[attr-defined]
    errors.install(app)
    documentation = Documentation(app)
    # In the order of use, in which the document has them.
    routed = (
        datasets,
        dataset_contents,
        training,
        jobs,
        events,
        history,
        models,
        aliases,
        native,
        open_inference,
        open_inference_repository,
        open_inference_statistics,
        tensorflow,
        mlflow,
        evaluation,
        held_out,
        checkpoints,
        publishing,
        exports,
        sweeps,
        key,
        audit,
        operations,
        index,
    )
    for module in routed:
        documentation.register_blueprint(module.routes)
    app.register_blueprint(pages.routes)
    app.register_blueprint(get_swaggerui_blueprint("/docs", "/openapi.json", config={"app_name": "Trainyard"}))
    return app
