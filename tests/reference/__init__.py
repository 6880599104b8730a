"""Slow twins in NumPy: each follows the definition in another way than the code that it checks."""
