"""Checkpoint files that clients upload, parsed in a disposable process."""
