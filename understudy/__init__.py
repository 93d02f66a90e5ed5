"""The package that programs import: the command's entry, and the pytest plugin."""
