"""Members of a version in processes of their own, which hold no database: the pool of a runner, and its processes."""
