"""What may keep an app from working: looked at one thing after another, each with what to do about it."""
