"""Trial scans that score the cleaning: the shapes, screens and marks of many machines, with exact ground truth."""

from benchmarks.trials.files import read_truth, write_trial
from benchmarks.trials.odd import ODD, odd_trial
from benchmarks.trials.trial import Trial, trial

__all__ = ["ODD", "Trial", "odd_trial", "read_truth", "trial", "write_trial"]
