"""Exchanges as conversations in mitmproxy's own programs: mitmweb, mitmproxy's console, mitmdump."""
