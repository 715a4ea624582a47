"""Tests of what hostile requests can do; ``python -m security``."""
