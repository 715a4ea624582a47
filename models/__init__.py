"""What a model is over time. The ground: refusals, names and ids, time, schema fields derived from dataclasses."""
