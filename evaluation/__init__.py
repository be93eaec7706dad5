"""Measure networks: accuracy, counts, latency and memory; the row of a result, and statistics over rows."""
