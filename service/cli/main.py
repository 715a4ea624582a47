"""All commands: the service's own ones, and those that talk to a service."""

from __future__ import annotations

from trainyard.cli.main import cli, main

__all__ = ["cli", "main"]
