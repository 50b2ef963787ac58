"""Rooms of the data: reading scans, cleaning, the store, labels and splits; and the phantom."""
