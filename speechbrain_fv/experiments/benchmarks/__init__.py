"""What the parts cost beside their peers, measured side by side; run by recipes/benchmark.py."""
