"""Sweeps without Ray and without training, for tests and benchmarks."""
