"""What tools/bench.py is made of: tables of subjects, processes that hold them, and records."""
