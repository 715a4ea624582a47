"""Jobs: submitted, queued, placed, run, reported, ended."""
