"""Tasks: how a model's outputs become scores, one file each."""
