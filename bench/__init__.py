"""Benchmarks: each compares side by side in one run and prints ratios. See README.md beside this file."""
