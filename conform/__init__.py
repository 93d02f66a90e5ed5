"""Holds a server that speaks OpenAI's dialect to what is known of the real API: its document, and recorded traffic.

``ask`` sends the requests, ``judge`` holds one exchange to all checks, and ``report`` prints what was found. The other
modules each have one kind of check. The rest of the project is not used here, so that any server can be judged.
"""
