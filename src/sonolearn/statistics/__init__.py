"""What a study of many trainings shows, and what it does not: pure functions from tables to figures and sentences."""
