"""Protocols in which a published version answers, a protocol a file."""
