"""Whose Claude, and whose trust.

:mod:`auth.sources` finds the credentials that Claude Code will run with, without reading more of them than it must;
:mod:`auth.redact` keeps secrets out of the log; :mod:`auth.authority` owns the certificate authority.
"""
