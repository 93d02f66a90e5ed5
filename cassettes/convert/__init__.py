"""Converts cassettes to and from other formats: HAR, mitmproxy's flows, vcrpy's YAML, JSON lines for evaluations."""
