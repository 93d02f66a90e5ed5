"""Modules that are seldom used are executed at their first use, and only in the program's own process."""

import json
import subprocess
import sys

from understudy.unused_modules import SELDOM_USED

LOADED = """
import json, sys
from understudy.rooms import use_rooms
from understudy.unused_modules import SELDOM_USED, import_when_used
use_rooms(in_own_process=True)
import_when_used()
import cli.serve
def executed():
    return [name for name in SELDOM_USED if name in sys.modules and type(sys.modules[name]).__name__ == "module"]
waiting = [name for name in SELDOM_USED if name in sys.modules]
before = executed()
import ldap3, attr, service_identity
from mitmproxy.addons import default_addons
used = [bool(ldap3.Server), bool(attr.define), bool(service_identity.VerificationError), len(default_addons())]
print(json.dumps([waiting, before, executed(), used]))
"""


def test_the_proxy_executes_seldom_used_modules_at_their_first_use() -> None:
    ran = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True)
    waiting, before, after, used = json.loads(ran.stdout)

    # rich asks whether there is `attr` for what it shows of an object.
    assert SELDOM_USED - set(waiting) <= {"attr"}
    assert before == []
    assert {"ldap3", "attr", "service_identity", "mitmproxy.addons.onboarding"} <= set(after)
    assert all(used)


def test_another_process_imports_as_before() -> None:
    code = "import understudy, understudy.unused_modules, sys; print([type(f).__name__ for f in sys.meta_path])"

    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert "WhenUsed" not in ran.stdout
