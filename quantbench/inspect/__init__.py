"""Contents of a checkpoint, and the differences between two, explained."""
