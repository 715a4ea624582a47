"""Published versions: loaded, cached, evaluated."""
