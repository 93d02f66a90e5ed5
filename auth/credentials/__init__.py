"""The credentials that Claude Code runs with: where they are, and whether they work."""
