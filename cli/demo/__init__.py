"""`understudy demo`: runs an unmodified OpenAI program, and shows its traffic on OpenAI's side and on Claude's side."""
