"""Checks whether a server answers as OpenAI's API does. It compares answers with OpenAI's document and with recordings.

:mod:`conform.ask` sends the requests, :mod:`conform.judge` runs all checks on one exchange, and :mod:`conform.report`
prints the findings. Most other modules have one kind of check each. Nothing here uses the rest of the project, because
the server may be any server.
"""
