"""Trained classifiers at work: from the file of a scan to the plane of each of its frames."""
