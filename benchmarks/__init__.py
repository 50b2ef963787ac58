"""How fast sonolearn is, against named peers or ceilings. `python -m benchmarks` measures all and prints a table."""
