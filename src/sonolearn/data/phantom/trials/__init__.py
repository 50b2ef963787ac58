"""Trial scans that score the cleaning: the shapes, screens and marks of many machines, with exact ground truth."""

from sonolearn.data.phantom.trials.files import read_truth, write_trial
from sonolearn.data.phantom.trials.odd import ODD, odd_trial
from sonolearn.data.phantom.trials.trial import Trial, trial

__all__ = ["ODD", "Trial", "odd_trial", "read_truth", "trial", "write_trial"]
