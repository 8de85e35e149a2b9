"""Models: one file each, one `register` decorator; a quantizable model has a `fuse_model(is_qat)`."""
