"""Proving and showing: benchmarks, chaos runs, the demo, and the load for them."""
