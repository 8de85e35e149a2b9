"""An experiment opened: its workload, baseline and artifact, and its measurements, each made once."""
