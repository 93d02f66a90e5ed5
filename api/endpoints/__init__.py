"""The endpoints of OpenAI's API, one module for each family."""
