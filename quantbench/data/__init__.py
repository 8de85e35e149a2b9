"""Data sets: one file each, one `register` decorator; read through `quantbench.data.opening.open_splits`."""
