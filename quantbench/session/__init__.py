"""One run over many experiments."""
