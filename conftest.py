"""Loads the plugin also where the package runs from a checkout; its entry point has the same name, so it loads once."""

pytest_plugins = ["quantbench.plugin", "pytester"]
