"""Training: the loop, its state on disk, its schedule, augmentation and watch for divergence."""
