"""The main job, shown: an unmodified OpenAI program, and both sides of what went over the wire."""
