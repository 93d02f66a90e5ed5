"""The fingerprint changes with the model and the version, and with nothing else."""

import re

from translate.chat.fingerprint import fingerprint


def test_the_fingerprint_has_openais_form_and_stays() -> None:
    assert re.fullmatch(r"fp_[0-9a-f]{10}", fingerprint("claude-x", "1.0"))
    assert fingerprint("claude-x", "1.0") == fingerprint("claude-x", "1.0")


def test_another_model_or_another_version_has_another_fingerprint() -> None:
    assert len({fingerprint("claude-x", "1.0"), fingerprint("claude-y", "1.0"), fingerprint("claude-x", "1.1")}) == 3
