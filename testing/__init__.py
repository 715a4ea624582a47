"""What tests, reliability and benchmarks share: servers, samples, damaged files, small runs."""
