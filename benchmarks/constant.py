"""The reference for /predict: a Flask route that reads the same body and returns a constant."""

from __future__ import annotations

import os

from flask import Flask, Response, request

ANSWER = b"x" * int(os.environ.get("CONSTANT_LENGTH", "200"))

app = Flask("constant")


@app.post("/predict")
def constant() -> Response:
    request.get_data()
    return Response(ANSWER, content_type="application/json")


@app.get("/health/ready")
def ready() -> dict[str, str]:
    return {"trainer": "ok"}
