"""Credentials for Claude, keys for the proxy's clients, and the certificate authority.

The words used here:

- a *source* is one place where Claude Code's credentials can come from, such as ``ANTHROPIC_API_KEY`` or a login.
  :mod:`auth.credentials.sources` chooses the source, and :mod:`auth.credentials.status` reports what is there;
- a *client* is somebody who may use the proxy. Each client has a *key*, made by ``understudy keys make``
  (:mod:`auth.keys.clients`), and may have a *budget* of requests, tokens and dollars (:mod:`auth.keys.budgets`; the
  prices are those of :mod:`translate.prices`);
- the *authority* signs the TLS certificates that the proxy shows for OpenAI's hosts
  (:mod:`auth.certificates.authority`). It cannot sign for other hosts (:mod:`auth.certificates.name_constraints`).

:mod:`auth.log_redaction` keeps secrets out of the log.
"""
