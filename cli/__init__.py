"""The command line: one file a command, and the small pieces that they share. ``cli/app.py`` puts them together."""
