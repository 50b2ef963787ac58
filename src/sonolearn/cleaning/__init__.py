"""Cleaning: from the frames of a `Scan` to square grey frames of the ultrasound picture alone, or a reason why not."""
