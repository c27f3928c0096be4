"""Benchmarks: each measures vireid beside a plain reference in the same run."""
