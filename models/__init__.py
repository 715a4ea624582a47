"""What a model is over time: definition, data, checkpoints, training runs, versions. No Flask, no processes."""
