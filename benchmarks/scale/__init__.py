"""What the seeds' own sizes take, step by step. `steps.py` has the table of steps; a step is a file of its own."""
