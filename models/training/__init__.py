"""One training run: its request, its prepared rows, the run itself, its checkpoint as a value."""
