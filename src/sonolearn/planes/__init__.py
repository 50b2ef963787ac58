"""Plane classifiers on an encoder: fine-tuned, linear, nearest neighbours; measured over label fractions and seeds."""
