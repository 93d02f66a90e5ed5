"""Finding secrets, and replacing them before anything is written."""
