"""`understudy doctor`: checks what can stop an app from working, and says how to fix it."""
