"""Clients that nobody here wrote speak to the service."""
