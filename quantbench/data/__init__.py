"""Data sets: one file each, one `register` decorator; read through `quantbench.data.splits.open_splits`."""
