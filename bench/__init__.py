"""Benchmarks. Each compares subjects in one run and prints ratios. See README.md in this folder."""
