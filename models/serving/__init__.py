"""A published version that answers: loaded, cached, evaluated."""
