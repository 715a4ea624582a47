"""Files of other formats: recognized, decoded, and read into typed columns."""
