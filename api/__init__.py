"""The origin: OpenAI's API on loopback.

mitmproxy streams only what comes from upstream, so what takes api.openai.com's place is an upstream: a small HTTP/1.1
server (:mod:`api.http.server`), a table of routes (:mod:`api.app`) and one module an endpoint family. It knows HTTP,
deadlines, disconnects and error bodies; of Claude it knows only that the engine plays Turns.
"""
