"""Intervals for the quantities that gates bound: proportions, paired accuracy drops, ratios of latencies."""
