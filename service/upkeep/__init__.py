"""Files and rows kept in step: inspection, start-up check, backup, verify, reindex."""
