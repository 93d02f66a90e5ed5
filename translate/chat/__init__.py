"""Chat Completions: requests into Turns, and Claude's events into chunks."""
