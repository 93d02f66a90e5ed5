"""Whose Claude, who may use it, and whose trust.

- *sources* are where the credentials that Claude Code runs with may be: :mod:`auth.credentials.sources` finds them,
  without reading more of them than it must, and :mod:`auth.credentials.status` says what there is;
- *clients* are those who may use the proxy, each by a *key* of ours (:mod:`auth.keys.clients`), within a *budget*
  (:mod:`auth.keys.budgets`, by the prices of :mod:`translate.prices`);
- the *authority* signs for the hosts that the proxy stands in for (:mod:`auth.certificates.authority`, and what limits
  it, :mod:`auth.certificates.name_constraints`).

:mod:`auth.log_redaction` keeps secrets out of the log.
"""
