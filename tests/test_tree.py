"""The tree keeps its own rules: who may import whom, and a test file for every module."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

from cli.log import LOGGED

ROOT = Path(__file__).parents[1]
PACKAGES = (
    "addons",
    "auth",
    "cli",
    "convert",
    "demo",
    "doctor",
    "engine",
    "looking",
    "origin",
    "pytest_understudy",
    "rehearsal",
    "remembering",
    "rerun",
    "store",
    "tape",
    "translate",
    "views",
    "wrapping",
)
MODULES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]

# Modules without a test file of their own, and where they are tested.
ELSEWHERE = {
    "cli/app.py": "tests/cli/test_group.py",
    "cli/building.py": "tests/end_to_end/test_run.py and tests/end_to_end/test_serve.py",
    "cli/demo.py": "tests/demo/test_show.py",
    "cli/options.py": "a table; tests/end_to_end/test_run.py",
    "cli/run.py": "tests/end_to_end/test_run.py",
    "cli/serve.py": "tests/end_to_end/test_serve.py",
    "convert/evaluation.py": "tests/convert/test_commands.py",
    "convert/exchange.py": "tests/convert/test_commands.py",
    "convert/flows.py": "tests/convert/test_commands.py",
    "convert/har.py": "tests/convert/test_commands.py",
    "convert/vcr.py": "tests/convert/test_commands.py",
    "doctor/doctor_command.py": "tests/end_to_end/test_doctor.py",
    "addons/ending.py": "tests/addons/test_log_exchanges.py and tests/addons/test_show_in_mitmproxy.py",
    "addons/bound_connections.py": "tests/attacks/test_idle_strangers_shut_nobody_out.py",
    "addons/bound_requests.py": "tests/attacks/test_bodies_are_bounded.py",
    "addons/bounded_websocket.py": "tests/attacks/test_websocket_messages_are_bounded.py",
    "addons/record_sockets.py": "tests/end_to_end/test_websocket.py",
    "demo/chat_by_httpx.py": "tests/end_to_end/test_wheel.py",
    "demo/chat.py": "the demo's app: tests/demo/test_show.py runs it",
    "engine/process.py": "tests/engine/test_facts.py",
    "engine/sdk.py": "tests/engine/test_facts.py",
    "looking/answer.py": "tests/looking/test_commands.py",
    "looking/cassette.py": "tests/looking/test_commands.py",
    "looking/diff.py": "tests/looking/test_commands.py",
    "looking/listing.py": "tests/looking/test_commands.py",
    "looking/parts.py": "tests/looking/test_commands.py",
    "looking/safe.py": "tests/looking/test_commands.py",
    "looking/show.py": "tests/looking/test_commands.py",
    "looking/story.py": "tests/looking/test_commands.py",
    "looking/timeline.py": "tests/looking/test_commands.py",
    "origin/picture_process.py": "tests/origin/test_pictures.py",
    "origin/background.py": "tests/origin/test_kept.py",
    "origin/conversations.py": "tests/origin/test_kept.py",
    "origin/kept_chats.py": "tests/origin/test_kept.py",
    "origin/kept_responses.py": "tests/origin/test_kept.py",
    "origin/lists.py": "tests/origin/test_kept.py",
    "origin/compaction.py": "tests/end_to_end/test_responses.py",
    "origin/monitoring.py": "tests/origin/test_kept.py",
    "origin/sessions.py": "tests/origin/test_kept.py",
    "origin/shelves.py": "tests/origin/test_kept.py",
    "origin/asker.py": "tests/origin/test_chat_completions.py and tests/origin/test_kept.py",
    "origin/completions.py": "tests/end_to_end/test_completions.py",
    "origin/routes.py": "a table; tests/end_to_end/test_refusals.py asks for what is not in it",
    "pytest_understudy/running.py": "tests/pytest_understudy/test_plugin.py",
    "rehearsal/__main__.py": "tests/rehearsal/test_server.py starts it",
    "rehearsal/errors.py": "tests/rehearsal/test_server.py",
    "rehearsal/events.py": "tests/rehearsal/test_script.py",
    "rehearsal/reply.py": "tests/rehearsal/test_script.py and tests/rehearsal/test_server.py",
    "rerun/commands.py": "tests/end_to_end/test_rerun.py",
    "store/tables.py": "tests/store/test_migrations.py",
    "translate/openai_wire.py": "tests/translate/test_generated_requests.py",
    "translate/turn.py": "data only",
}

# All of the standard library that translate/ may use: none of it does I/O, reads a clock or draws a random number.
PURE = {
    "base64",
    "binascii",
    "collections",
    "contextlib",
    "dataclasses",
    "enum",
    "difflib",
    "fnmatch",
    "hashlib",
    "json",
    "re",
    "typing",
    "urllib",
}


def imports(path: Path) -> set[str]:
    """Return the top-level names that a module imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return found


def named(paths: list[Path]) -> list[object]:
    return [pytest.param(path, id=str(path.relative_to(ROOT))) for path in paths]


@pytest.mark.parametrize("path", named([path for path in MODULES if path.name != "__init__.py"]))
def test_every_module_has_a_test_file(path: Path) -> None:
    name = str(path.relative_to(ROOT))
    mirrored = ROOT / "tests" / path.relative_to(ROOT).with_name(f"test_{path.stem}.py")

    assert mirrored.exists() != (name in ELSEWHERE)


@pytest.mark.parametrize(("name", "where"), ELSEWHERE.items())
def test_what_is_tested_elsewhere_is_there_and_so_is_its_test(name: str, where: str) -> None:
    assert [path for path in (name, *re.findall(r"tests/\S+\.py", where)) if not (ROOT / path).is_file()] == []


@pytest.mark.parametrize("path", named(sorted((ROOT / "translate").rglob("*.py"))))
def test_translate_imports_nothing_that_does_io(path: Path) -> None:
    assert imports(path) <= PURE | {"translate", "msgspec"}


@pytest.mark.parametrize("path", named(sorted((ROOT / "translate").rglob("*.py"))))
def test_translate_opens_nothing_by_a_builtin_or_by_urllib(path: Path) -> None:
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))

    called = {node.func.id for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    from_urllib = {str(n.module) for n in nodes if isinstance(n, ast.ImportFrom) and "urllib" in str(n.module)}
    assert called & {"open", "print", "input", "exec", "eval", "__import__"} == set()
    assert from_urllib <= {"urllib.parse"}


@pytest.mark.parametrize(
    ("package", "allowed"),
    [
        ("engine", {"engine", "translate"}),
        ("origin", {"auth", "engine", "origin", "remembering", "store", "tape", "translate"}),
        ("remembering", {"remembering", "store"}),
        ("auth", {"auth", "engine", "settings", "store", "tape", "translate"}),
        ("store", {"store"}),
        ("tape", {"tape", "translate"}),
        ("convert", {"convert", "looking", "tape"}),
        ("looking", {"looking", "tape", "translate"}),
        ("rerun", {"looking", "rerun", "settings", "tape", "translate"}),
        ("views", {"looking", "tape", "translate", "views"}),
        ("wrapping", {"wrapping"}),
        ("rehearsal", {"rehearsal", "origin"}),
        (
            "addons",
            {
                *("addons", "auth", "engine", "origin", "rehearsal", "remembering", "settings", "store", "tape"),
                *("translate", "views", "wrapping"),
            },
        ),
    ],
)
def test_arrows_point_one_way(package: str, allowed: set[str]) -> None:
    ours = {*PACKAGES, "run_proxy", "settings", "bench"}
    used = {name for path in (ROOT / package).glob("*.py") for name in imports(path)} & ours

    assert used <= allowed


@pytest.mark.parametrize("path", named([path for path in MODULES if path.parts[len(ROOT.parts)] != "cli"]))
def test_no_room_imports_the_command_line(path: Path) -> None:
    assert "cli" not in imports(path)


def test_commands_do_not_import_each_other() -> None:
    files = [path for path in sorted((ROOT / "cli").glob("*.py")) if path.name != "app.py"]
    commands = {"run", "serve", "env", "demo", "config", "rehearsal"}
    tails = {
        f"{path.stem} imports {node.module}"
        for path in files
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module in {f"cli.{command}" for command in commands}
    }

    assert tails == set()


def test_the_level_of_the_log_holds_for_every_package_that_logs() -> None:
    own = {path.relative_to(ROOT).parts[0] for path in MODULES if "getLogger(__name__)" in path.read_text("utf-8")}

    assert own | {"understudy"} == set(LOGGED)


def test_one_file_imports_the_sdk() -> None:
    users = [str(path.relative_to(ROOT)) for path in MODULES if "claude_agent_sdk" in imports(path)]

    assert users == ["engine/sdk.py"]


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X)\b", id="work left undone"),
        pytest.param(r"(?<![\w.])/(home|Users|work|root)/[\w.-]+", id="a machine's paths"),
    ],
)
def test_the_tree_has_none_of(words: str) -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split(
        "\n"
    )
    ours = [
        name for name in listed if name.endswith((".py", ".md", ".toml", ".yaml", ".json", ".jsonl", ".mjs", "run"))
    ]
    if not ours:
        pytest.skip("this is no git checkout, so there is no list of what is ours")
    locks = [name for name in ours if name.endswith("-lock.json")]

    found = [
        name
        for name in ours
        if name not in locks
        and (ROOT / name).is_file()
        and re.search(words, (ROOT / name).read_text(encoding="utf-8", errors="replace"))
    ]

    assert found == []
