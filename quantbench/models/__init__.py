"""Models: one file each and one line of `registry.MODELS`; a quantizable model has a `fuse_model(is_qat)`."""
