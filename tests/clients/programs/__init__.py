"""Tests that run in a client's own environment, by the pytest that is there.

``tests/clients/test_stock.py`` runs them. They import the client and what comes with it, and nothing of the project.
"""
