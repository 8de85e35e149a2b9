"""The same experiment through several backends, or of several versions and machines, compared sample by sample."""
