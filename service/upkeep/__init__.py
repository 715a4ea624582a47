"""Upkeep: keeps files and rows consistent. Inspection, start-up check, backup, verify, reindex."""
