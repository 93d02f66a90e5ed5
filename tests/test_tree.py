"""The tree keeps its own rules: who may import whom, and a test file for every module."""

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from cli.log import LOGGED

ROOT = Path(__file__).parents[1]
# Each room, and the rooms that it imports. A room comes after every room that it imports, so no arrow points upward.
ARROWS: dict[str, set[str]] = {
    "understudy": set(),
    "translate": set(),
    "conform": set(),
    "engine": {"translate"},
    "storage": set(),
    "cassettes": {"storage", "translate"},
    "launch": {"storage"},
    "settings": {"cassettes", "engine", "translate"},
    "auth": {"cassettes", "engine", "settings", "storage", "translate"},
    "api": {"auth", "cassettes", "engine", "storage", "translate"},
    "rehearsal": {"api"},
    "addons": {"api", "auth", "cassettes", "engine", "settings", "translate"},
    "cli": {
        *(
            "addons",
            "api",
            "auth",
            "cassettes",
            "conform",
            "engine",
            "launch",
            "rehearsal",
            "settings",
            "storage",
            "translate",
        ),
        "understudy",
    },
    "run_proxy": {"cli", "settings", "understudy"},
    "understudy.__main__": {"cli", "understudy"},
}
PACKAGES = tuple(room for room in ARROWS if (ROOT / room).is_dir())
MODULES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]

# Modules without a test file of their own, and where they are tested.
ELSEWHERE = {
    "cli/building.py": "tests/end_to_end/test_run.py and tests/end_to_end/test_serve.py",
    "cli/demo/command.py": "tests/cli/demo/test_show.py",
    "cli/log_on_terminal.py": "tests/end_to_end/test_run_on_a_terminal.py",
    "cli/options.py": "a table; tests/end_to_end/test_run.py",
    "cli/run.py": "tests/end_to_end/test_run.py",
    "cli/wrapped.py": "tests/cli/test_env.py and tests/end_to_end/test_run.py",
    "cli/serve.py": "tests/end_to_end/test_serve.py",
    "cassettes/convert/evaluation.py": "tests/cli/test_convert.py",
    "cassettes/convert/exchange.py": "tests/cli/test_convert.py",
    "cassettes/convert/flows.py": "tests/cli/test_convert.py",
    "cassettes/convert/har.py": "tests/cli/test_convert.py",
    "cassettes/convert/vcr.py": "tests/cli/test_convert.py",
    "cli/doctor/command.py": "tests/end_to_end/test_doctor.py",
    "addons/ending.py": "tests/addons/test_log_exchanges.py and tests/addons/test_show_in_mitmproxy.py",
    "addons/bound_connections.py": "tests/attacks/test_idle_strangers_shut_nobody_out.py",
    "addons/bound_requests.py": "tests/attacks/test_bodies_are_bounded.py",
    "addons/bounded_http.py": "tests/attacks/test_bodies_are_bounded.py and tests/api/test_body_bounds.py",
    "cassettes/summary.py": "tests/cassettes/test_index.py",
    "understudy/recording_modes.py": "a table; tests/understudy/test_pytest_plugin.py",
    "addons/bounded_websocket.py": "tests/attacks/test_websocket_messages_are_bounded.py",
    "cli/demo/chat_by_httpx.py": "tests/end_to_end/test_wheel.py",
    "cli/demo/chat.py": "the demo's app: tests/cli/demo/test_show.py runs it",
    "engine/process.py": "tests/engine/test_facts.py",
    "engine/valve_connection.py": "tests/engine/test_valve.py",
    "engine/spawn.py": "tests/engine/test_facts.py",
    "engine/sdk.py": "tests/engine/test_facts.py",
    "cassettes/show/answer.py": "tests/cli/test_show.py",
    "cassettes/show/cassette.py": "tests/cli/test_show.py",
    "cassettes/show/diff.py": "tests/cli/test_show.py",
    "cassettes/show/listing.py": "tests/cli/test_show.py",
    "cassettes/show/parts.py": "tests/cli/test_show.py",
    "cassettes/show/safe.py": "tests/cli/test_show.py",
    "cassettes/show/show.py": "tests/cli/test_show.py",
    "cassettes/show/story.py": "tests/cli/test_show.py",
    "cassettes/show/timeline.py": "tests/cli/test_show.py",
    "api/mcp_client.py": "tests/api/test_mcp.py",
    "api/image_process.py": "tests/api/test_images.py",
    "api/charging.py": "tests/api/test_access.py and tests/api/endpoints/test_status.py",
    "api/parts.py": "data; tests/api/test_app.py and tests/api/endpoints/test_stored.py",
    "api/http/responder.py": "a Protocol; tests/api/endpoints/test_response_socket.py",
    "api/endpoints/background.py": "tests/api/endpoints/test_stored.py",
    "api/endpoints/conversations.py": "tests/api/endpoints/test_stored.py",
    "api/endpoints/stored_chat_completions.py": "tests/api/endpoints/test_stored.py",
    "api/endpoints/stored_responses.py": "tests/api/endpoints/test_stored.py",
    "api/http/pagination.py": "tests/api/endpoints/test_stored.py",
    "api/endpoints/compaction.py": "tests/end_to_end/test_responses.py",
    "api/endpoints/monitoring.py": "tests/api/endpoints/test_stored.py",
    "api/endpoints/sessions.py": "tests/api/endpoints/test_stored.py",
    "storage/stores.py": "tests/api/endpoints/test_stored.py",
    "api/client_identity.py": "tests/api/endpoints/test_chat_completions.py and tests/api/endpoints/test_stored.py",
    "api/endpoints/completions.py": "tests/end_to_end/test_completions.py",
    "api/routes.py": "a table; tests/end_to_end/test_refusals.py asks for what is not in it",
    "understudy/__main__.py": "tests/end_to_end/test_wheel.py",
    "rehearsal/__main__.py": "tests/rehearsal/test_server.py starts it",
    "rehearsal/errors.py": "tests/rehearsal/test_server.py",
    "rehearsal/events.py": "tests/rehearsal/test_script.py",
    "rehearsal/reply.py": "tests/rehearsal/test_script.py and tests/rehearsal/test_server.py",
    "cli/check.py": "tests/end_to_end/test_rerun.py",
    "storage/lease_renewal.py": "tests/storage/test_background.py and tests/auth/keys/test_budgets.py",
    "storage/tables.py": "tests/storage/test_migrations.py",
    "conform/answers.py": "tests/end_to_end/test_conform.py",
    "conform/ask.py": "tests/end_to_end/test_conform.py and tests/cli/test_conform.py",
    "conform/chat_stream.py": "tests/end_to_end/test_conform.py",
    "conform/errors.py": "tests/end_to_end/test_conform.py",
    "conform/plan.py": "a table; tests/end_to_end/test_conform.py",
    "conform/report.py": "tests/cli/test_conform.py",
    "conform/response_stream.py": "tests/end_to_end/test_conform.py",
    "conform/shapes.py": "tests/conform/test_judge.py",
    "conform/websocket.py": "tests/end_to_end/test_conform.py",
    "translate/chat/wire.py": "tests/translate/test_generated_requests.py",
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
    "itertools",
    "json",
    "re",
    "typing",
    "urllib",
}


@cache
def nodes(path: Path) -> list[ast.AST]:
    """Return all nodes of a file's syntax tree. Several tests look at each file."""
    return list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))


@cache
def imports(path: Path) -> frozenset[str]:
    """Return the top-level names that a module imports."""
    found = set()
    for node in nodes(path):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return frozenset(found)


def mirrored(path: Path) -> Path:
    """Return where a module's own test file is, if it has one."""
    return ROOT / "tests" / path.relative_to(ROOT).with_name(f"test_{path.stem}.py")


def test_every_module_has_a_test_file_or_is_listed_as_tested_elsewhere() -> None:
    modules = {str(path.relative_to(ROOT)): path for path in MODULES if path.name != "__init__.py"}

    assert [name for name, path in modules.items() if not mirrored(path).exists() and name not in ELSEWHERE] == []
    assert [name for name, path in modules.items() if mirrored(path).exists() and name in ELSEWHERE] == []


def test_a_module_that_is_tested_elsewhere_exists_and_so_does_its_test() -> None:
    named = {path for name, where in ELSEWHERE.items() for path in (name, *re.findall(r"tests/\S+\.py", where))}

    assert [path for path in sorted(named) if not (ROOT / path).is_file()] == []


def test_translate_imports_nothing_that_does_io() -> None:
    allowed = PURE | {"translate", "msgspec"}
    # This one tells the interpreter how long a thread may hold it.
    more = {"long_work.py": {"gc", "sys", "threading"}}

    found = {path.name: imports(path) - allowed for path in files_of("translate")}
    assert {name: modules for name, modules in found.items() if modules} == more


def test_translate_opens_nothing_by_a_builtin_or_by_urllib() -> None:
    every = [node for path in files_of("translate") for node in nodes(path)]

    called = {node.func.id for node in every if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    from_urllib = {str(n.module) for n in every if isinstance(n, ast.ImportFrom) and "urllib" in str(n.module)}
    assert called & {"open", "print", "input", "exec", "eval", "__import__"} == set()
    assert from_urllib <= {"urllib.parse"}


def files_of(room: str) -> list[Path]:
    """Return a room's Python files. A room may be one module. The entry of a package is no part of it."""
    folder = ROOT / room.replace(".", "/")
    if not folder.is_dir():
        return [folder.with_suffix(".py")]
    return [path for path in sorted(folder.rglob("*.py")) if f"{room}.{path.stem}" not in ARROWS]


@pytest.mark.parametrize(("room", "imported"), ARROWS.items())
def test_a_room_imports_exactly_the_rooms_that_are_listed(room: str, imported: set[str]) -> None:
    used = {name for path in files_of(room) for name in imports(path)} & (
        {*ARROWS, "bench", "fixtures", "tests"} - {room}
    )

    assert used == imported


def test_no_arrow_between_rooms_points_upward() -> None:
    order = list(ARROWS)

    assert [
        (room, other) for room, others in ARROWS.items() for other in others if order.index(other) > order.index(room)
    ] == []


def test_every_folder_of_the_tree_that_holds_modules_is_a_room() -> None:
    folders = {path.parent.name for path in ROOT.glob("*/__init__.py")}

    assert folders - {"bench", "fixtures"} == set(PACKAGES)


def test_no_module_imports_itself_through_others() -> None:
    """Imports for types count as well: two modules that need each other's names are one module."""
    modules = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for room in ARROWS
        for path in files_of(room)
    }
    graph = {name: imported_modules(path, set(modules)) - {name} for name, path in modules.items()}

    assert cycles(graph) == []


def imported_modules(path: Path, modules: set[str]) -> set[str]:
    """Return which of ``modules`` a file imports, wherever in the file."""
    found = set()
    for node in nodes(path):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= (names & modules) or {node.module}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found & modules


def cycles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Return the modules that are left when those that import nothing of the rest are taken away, again and again."""
    rest = {name: set(others) for name, others in graph.items()}
    while free := [name for name, others in rest.items() if not others & set(rest)]:
        for name in free:
            del rest[name]
    # What only imports a cycle is taken away from the other end.
    while unused := [name for name in rest if not any(name in others for others in rest.values())]:
        for name in unused:
            del rest[name]
    return [[name, *sorted(others & set(rest))] for name, others in rest.items()]


def test_only_the_entry_imports_the_command_line() -> None:
    users = {
        str(path.relative_to(ROOT))
        for path in MODULES
        if path.parts[len(ROOT.parts)] != "cli" and "cli" in imports(path)
    }

    assert users == {"understudy/__main__.py"}


@pytest.mark.parametrize("path", files_of("understudy"), ids=lambda path: path.name)
def test_the_pytest_plugin_imports_pytest_and_the_standard_library_alone(path: Path) -> None:
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))

    # By relative imports: another distribution has the same files under another name.
    own = {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.level == 1}
    assert own <= {path.stem for path in (ROOT / "understudy").glob("*.py")}
    assert imports(path) - {str(name) for name in own} <= {*sys.stdlib_module_names, "pytest"}


def test_commands_do_not_import_each_other() -> None:
    files = [path for path in sorted((ROOT / "cli").glob("*.py")) if path.name != "app.py"]
    commands = {"run", "serve", "env", "demo", "config", "rehearsal"}
    tails = {
        f"{path.stem} imports {node.module}"
        for path in files
        for node in nodes(path)
        if isinstance(node, ast.ImportFrom) and node.module in {f"cli.{command}" for command in commands}
    }

    assert tails == set()


def test_the_level_of_the_log_holds_for_every_package_that_logs() -> None:
    own = {path.relative_to(ROOT).parts[0] for path in MODULES if "getLogger(__name__)" in path.read_text("utf-8")}

    assert own | {"understudy"} == set(LOGGED)


def test_one_module_of_the_api_decodes_the_bodies_of_requests() -> None:
    """The rest decodes what is no body of a request: answers, stored or not, lines of files, messages of sockets and
    MCP servers.

    A replay reads a body as the recorder has read it, since it compares the two: a key that comes twice makes it text.
    """
    decoders = {"loads", "decode_object", "Decoder", "JSONDecoder", "parse_json", "raw_decode"}
    found: dict[str, set[str]] = {}
    for path in sorted((ROOT / "api").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            name = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            if name.rpartition(".")[2] in decoders or name.endswith("json.decode"):
                found.setdefault(str(path.relative_to(ROOT)), set()).add(name)

    assert found == {
        "api/request.py": {"decode_object"},
        "api/batch_lines.py": {"decode_object"},
        "api/batch_runner.py": {"msgspec.json.decode"},
        "api/replay.py": {"parse_json"},
        "api/endpoints/background.py": {"json.loads"},
        "api/format_check.py": {"msgspec.json.decode"},
        "api/endpoints/response_socket.py": {"msgspec.json.decode"},
        "api/endpoints/stored_chat_completions.py": {"json.loads"},
    }


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
