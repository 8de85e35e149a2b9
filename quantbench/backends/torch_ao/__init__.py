"""torch.ao: eager mode, its observers, qconfigs and checked steps; announced for removal (pytorch/ao#2259)."""
