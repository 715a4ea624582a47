"""HTTP: bodies, errors, OpenAPI, idempotency; routes/ (a noun a file), protocols/ (a protocol a file), worker/."""
