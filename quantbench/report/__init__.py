"""Reports from records alone; nothing here imports torch."""
