"""Cassettes as other tools have them: HAR, mitmproxy's flow files, vcrpy's YAML, lines for evaluations."""
