"""Quantities: what is measured and judged, and the words for it."""
