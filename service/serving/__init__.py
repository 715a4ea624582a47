"""Serving: choosing a version, and predicting with it; one function for every protocol."""
