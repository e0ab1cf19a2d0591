"""Benchmarks: each prints its figures beside a baseline of the same run, and fails if a bar is missed."""
