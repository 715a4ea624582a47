"""One training run: what was asked, the rows made ready, the run, its checkpoint as a value."""
