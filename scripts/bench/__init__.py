"""What scripts/benchmark.py and scripts/aot.py are made of."""
