"""HTTP/1.1, WebSockets, event streams and paginated lists. Nothing here knows an endpoint."""
