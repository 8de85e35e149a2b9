"""Goldens: accepted facts under version control, read, compared and written with their history."""
