"""Measurements of one model or a pair of models; each returns plain figures and judges nothing."""
