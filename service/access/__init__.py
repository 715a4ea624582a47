"""Who asks and what they may: keys, callers, limits."""
