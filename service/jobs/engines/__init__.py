"""Engines, which run jobs: an engine takes an order and returns a placement, which finally has the outcome."""
