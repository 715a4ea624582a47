"""What the database holds: models, versions, aliases, checkpoints, datasets."""
