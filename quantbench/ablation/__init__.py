"""Ablations: trainings that differ in one choice each, compared with the first."""
