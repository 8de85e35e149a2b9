"""What measurements and checkpoints mean: the anatomy of a file, what changed between two and why, who is to blame."""
