"""A data set, a task, a recipe, a backend and a quantity for quantbench, one file each."""
