"""Trial scans that score the cleaning: the shapes, screens and marks of many machines, with exact ground truth."""

from sonolearn.data.phantom.trials.files import read_truth, write_trial
from sonolearn.data.phantom.trials.trial import Trial, trial

__all__ = ["Trial", "read_truth", "trial", "write_trial"]
