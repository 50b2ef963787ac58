"""What `benchmarks/fuzz.py` is made of: damage, the inputs of each kind, and processes that may die or hang."""
