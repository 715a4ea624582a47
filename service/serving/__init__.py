"""Which version answers, and its prediction: one function for every protocol."""
