"""What `benchmarks/kill.py` is made of: the steps, how they are started and killed, and what is compared."""
