"""Features: how the columns of a table become the numbers that a network reads."""
