"""The console: a page that shows what the service does, as a client of its public API."""
