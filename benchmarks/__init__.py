"""Measurements. `python -m benchmarks` measures speed, all scripts of the list in `__main__`, and prints one table.

Not of speed, and run one by one: `cleaning`, `cleaning_peers` and `cleaning_matters` measure how well scans are
cleaned, `study_runner` what the runner of studies costs.
"""
