"""Another revision of the user's project, made beside the working tree and measured against it."""
