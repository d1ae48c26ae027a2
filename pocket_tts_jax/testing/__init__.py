"""Models of random weights, for tests and benchmarks of what uses this package."""
