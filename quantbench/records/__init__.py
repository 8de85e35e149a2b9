"""Records: what is written down of runs, trainings, searches and ablations, and the one way to read it."""
