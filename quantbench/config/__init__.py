"""Configuration: what a workload file may say, its reading, the choice of experiments."""
