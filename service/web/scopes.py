"""Which scope of a key each route needs."""

from __future__ import annotations

from collections.abc import Collection

from service.access.keys import Scope

__all__ = ["OPEN", "scopes_of"]

#: Endpoints that need no key: whether the service lives, its documentation, and the console, which sends a key itself.
OPEN = {
    "operations.check_live",
    "operations.check_ready",
    "open inference.check_inference_live",
    "open inference.check_inference_ready",
    "mlflow.check_ping",
    "mlflow.check_health",
    "api-docs.openapi_json",
    "swagger_ui.show",
    "swagger_ui.static",
    "index.show_index",
    "console.shell",
    "console.static",
    "console.elsewhere",
}
_PREDICT, _TRAIN, _ADMIN = (Scope.PREDICT,), (Scope.TRAIN,), (Scope.ADMIN,)
#: Any key will do.
_ANY = tuple(Scope)
#: The scopes of which a key needs one: by blueprint, or by endpoint if that differs.
_SCOPES: dict[str, tuple[Scope, ...]] = {
    "models": _TRAIN,
    **dict.fromkeys(
        ("models.list_models", "models.show_model", "models.list_versions", "models.show_version"), (*_PREDICT, *_TRAIN)
    ),
    "aliases": _TRAIN,
    **dict.fromkeys(("aliases.list_aliases", "aliases.show_alias"), (*_PREDICT, *_TRAIN)),
    "predictions": _PREDICT,
    "open inference": (*_PREDICT, *_TRAIN),
    **dict.fromkeys(("open inference.infer_with_model", "open inference.infer_with_version"), _PREDICT),
    "open inference.show_inference_server": _ANY,
    "inference repository": _PREDICT,
    "inference repository.index_inference_models": (*_PREDICT, *_TRAIN),
    "inference statistics": (*_PREDICT, *_TRAIN),
    "tensorflow": _PREDICT,
    **dict.fromkeys(
        (
            *("tensorflow.list_model_names", "tensorflow.show_model_status", "tensorflow.show_model_metadata"),
            *("tensorflow.show_model_status_by_version", "tensorflow.show_model_metadata_by_version"),
            *("tensorflow.show_model_status_by_label", "tensorflow.show_model_metadata_by_label"),
        ),
        (*_PREDICT, *_TRAIN),
    ),
    "mlflow": _PREDICT,
    "datasets": _TRAIN,
    "dataset contents": _TRAIN,
    "training": _TRAIN,
    "sweeps": _TRAIN,
    "jobs": _TRAIN,
    "events": _TRAIN,
    "history": _TRAIN,
    "held-out rows": _TRAIN,
    "checkpoints": _TRAIN,
    "publishing": _TRAIN,
    "exports": _TRAIN,
    "evaluation": _TRAIN,
    "key": _ANY,
    "audit": _ADMIN,
    "operations.show_service_version": _ANY,
    "operations.report_metrics": _ADMIN,
}


def scopes_of(endpoint: str | None) -> Collection[Scope]:
    """The scopes of which a key needs one for an endpoint; any key will do for what does not exist.

    Raises KeyError for an endpoint that the table lacks.
    """
    if endpoint is None:
        return _ANY
    found = _SCOPES.get(endpoint)
    return _SCOPES[endpoint.partition(".")[0]] if found is None else found
