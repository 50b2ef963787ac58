"""Reading: a file or a folder becomes a `Scan`, whose frames are read lazily. Knows nothing of labels or stores."""
