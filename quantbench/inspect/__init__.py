"""What is in a checkpoint, and what became of one in another."""
