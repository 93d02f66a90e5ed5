"""The command line: one file for each command, and helpers for several commands. ``cli/app.py`` lists the commands."""
