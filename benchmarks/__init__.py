"""Measures the figures that the documentation claims: `python -m benchmarks.NAME`, one JSON object a line."""
