"""The life of a job: submitted, queued, placed, run, reported, ended."""
