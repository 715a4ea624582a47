"""Rows and labels: parsed, typed, described."""
