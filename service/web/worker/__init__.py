"""The front door: a gunicorn worker whose one loop holds all connections, and threads only for what takes time."""
