"""Rooms of self-supervised learning: encoders, views, methods, pre-training."""
