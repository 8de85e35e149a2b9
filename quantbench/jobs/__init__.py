"""Cells of a long sweep, several at once: in processes of this machine, or of others, by joblib. Nothing timed."""
