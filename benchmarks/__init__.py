"""Benchmarks: Runnel against the least that the same work can cost, as ratios of figures from one run.

measurements.py says what is measured, one function each. What a figure comes from runs in a fresh process (process.py):
raw.py is the work done by hand over redis-py, product.py the same by Runnel. docs/performance.md explains the table.
"""
