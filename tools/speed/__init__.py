"""What tools/bench.py is made of: tables of subjects, workers that hold them, and records."""
