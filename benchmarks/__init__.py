"""Benchmarks of vireid against a reference implementation in the same run."""
