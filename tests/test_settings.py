"""Settings: where each value comes from, and what is wrong with it."""

import re
from pathlib import Path
from typing import Any

import pytest

from settings import (
    Settings,
    SettingsError,
    load,
    parse_address,
    parse_hosts,
    parse_model_map,
    read_file,
    rows,
    show,
    write_address,
)

FILE = Path("understudy.toml")


def test_a_flag_wins_over_the_environment_that_over_the_file_that_over_the_default() -> None:
    environ = {"UNDERSTUDY_WAIT_S": "2", "UNDERSTUDY_TIMEOUT_S": "20"}
    file: dict[str, Any] = {"wait_s": 3, "timeout_s": 30, "idle_timeout_s": 300}

    loaded = load({"wait_s": 1.0, "timeout_s": None}, environ, (FILE, file))

    settings = loaded.settings
    assert (settings.wait_s, settings.timeout_s, settings.idle_timeout_s, settings.max_processes) == (1, 20, 300, 8)
    assert [loaded.source[name] for name in ("wait_s", "timeout_s", "idle_timeout_s", "max_processes")] == [
        "flag",
        "UNDERSTUDY_TIMEOUT_S",
        "understudy.toml",
        "default",
    ]


def test_hosts_are_added_to_openais_own() -> None:
    assert load({}, {"UNDERSTUDY_HOSTS": "A.example, *.b.example"}).settings.hosts == (
        "api.openai.com",
        "a.example",
        "*.b.example",
    )


def test_a_persons_patterns_come_before_the_built_in_ones() -> None:
    full = load({}, {}, (FILE, {"model_map": {"gpt-4o*": "opus"}})).settings.full_model_map()

    assert next(iter(full.items())) == ("gpt-4o*", "opus")
    assert full["gpt-3.5*"] == "haiku"


def test_toml_may_write_names_with_dashes() -> None:
    assert load({}, {}, (FILE, {"max-processes": 3})).settings.max_processes == 3


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LISTEN", "nowhere"),
        ("LISTEN", "127.0.0.1:99999"),
        ("MAX_PROCESSES", "0"),
        ("MAX_PROCESSES", "many"),
        ("WAIT_S", "-1"),
        ("WAIT_S", "inf"),
        ("PASSTHROUGH", "perhaps"),
        ("MODEL_MAP", "gpt-4o"),
        ("HOSTS", "*"),
        ("HOSTS", "a b/c"),
        ("LOG_LEVEL", "loud"),
    ],
)
def test_a_bad_value_is_named_with_its_source(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=rf"{name.lower()} \(from UNDERSTUDY_{name}\)"):
        load({}, {f"UNDERSTUDY_{name}": value})


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("MAX_PROCESSES", "many", "'many' is not a whole number"),
        ("REPLAY_RECUT", "1.5", "'1.5' is not a whole number"),
        ("KEEP_IDLE_S", "soon", "'soon' is not a number"),
        ("KEEP_IDLE_S", "inf", "'inf' is not a finite number"),
        ("TIMEOUT_S", "0.5", r"0\.5 is too small; it must be at least 1"),
    ],
)
def test_an_invalid_number_gets_a_clear_error(name: str, text: str, told: str) -> None:
    with pytest.raises(SettingsError, match=rf"\(from UNDERSTUDY_{name}\): {told}$"):
        load({}, {f"UNDERSTUDY_{name}": text})


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ({"colour": "red"}, "there is no setting colour"),
        ({"max_proceses": 3}, "there is no setting max_proceses (did you mean max_processes?)"),
        (
            {"record": {"redact": {"heders": ["x-a"]}}, "colour": "red"},
            "there is no setting record_redact_heders (did you mean record_redact_headers?), colour",
        ),
    ],
)
def test_an_unknown_setting_in_the_file_is_named_with_the_one_that_it_is_like(
    written: dict[str, Any], told: str
) -> None:
    with pytest.raises(SettingsError) as refused:
        load({}, {}, (FILE, written))

    assert str(refused.value) == f"understudy.toml: {told}"


def test_an_unknown_variable_is_refused_as_an_unknown_setting_in_the_file_is_and_its_value_is_not_told() -> None:
    with pytest.raises(SettingsError) as refused:
        load({}, {"UNDERSTUDY_STORE_KY": "canary", "UNDERSTUDY_COLOUR": "red", "OTHER": "1"})

    assert str(refused.value) == (
        "the environment: there is no setting for UNDERSTUDY_COLOUR, "
        "UNDERSTUDY_STORE_KY (did you mean UNDERSTUDY_STORE_KEY?)"
    )


KUBERNETES = {
    "UNDERSTUDY_SERVICE_HOST": "10.0.0.1",
    "UNDERSTUDY_SERVICE_PORT": "8080",
    "UNDERSTUDY_SERVICE_PORT_HTTP": "8080",
    "UNDERSTUDY_PORT": "tcp://10.0.0.1:8080",
    "UNDERSTUDY_PORT_8080_TCP": "tcp://10.0.0.1:8080",
    "UNDERSTUDY_PORT_8080_TCP_PROTO": "tcp",
    "UNDERSTUDY_PORT_8080_TCP_PORT": "8080",
    "UNDERSTUDY_PORT_8080_TCP_ADDR": "10.0.0.1",
    "UNDERSTUDY_STORE_SERVICE_HOST": "10.0.0.2",
    "UNDERSTUDY_STORE_SERVICE_PORT": "5432",
    "UNDERSTUDY_STORE_PORT": "tcp://10.0.0.2:5432",
}


def test_the_variables_that_kubernetes_sets_for_a_service_of_our_name_are_let_be() -> None:
    assert load({}, KUBERNETES).settings == Settings()
    with pytest.raises(SettingsError, match=r"UNDERSTUDY_PORT$"):
        load({}, {"UNDERSTUDY_PORT": "8080"})


@pytest.mark.parametrize(
    ("text", "address"),
    [("8080", ("127.0.0.1", 8080)), ("0.0.0.0:1", ("0.0.0.0", 1)), ("[::1]:80", ("::1", 80)), (":0", ("127.0.0.1", 0))],
)
def test_an_address_is_host_and_port(text: str, address: tuple[str, int]) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize("text", ["127.0.0.1:8080", "[::1]:80", "localhost:1"])
def test_an_address_is_written_as_it_is_read(text: str) -> None:
    assert write_address(*parse_address(text)) == text


def test_a_model_map_is_pairs() -> None:
    assert parse_model_map("a*=opus, b = haiku,") == {"a*": "opus", "b": "haiku"}


def test_hosts_are_named_once() -> None:
    assert parse_hosts("api.openai.com x.example x.example") == ("api.openai.com", "x.example")


def test_the_file_is_read_from_the_working_directory(tmp_path: Path) -> None:
    (tmp_path / "understudy.toml").write_text('default_model = "opus"\n')

    found = read_file(cwd=tmp_path)

    assert found == (tmp_path / "understudy.toml", {"default_model": "opus"})


@pytest.mark.parametrize("content", [b"not = = toml", b"\xff\xfe"])
def test_a_broken_file_is_one_clear_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.toml"
    path.write_bytes(content)

    with pytest.raises(SettingsError, match=r"x\.toml(: it is not UTF-8| is not TOML: )"):
        read_file(path)


def test_a_file_that_is_named_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="there is no file"):
        read_file(tmp_path / "missing.toml")


def test_every_setting_is_shown_as_it_would_be_given() -> None:
    shown = {name: value for name, value, _, _ in rows(load({}, {"UNDERSTUDY_MODEL_MAP": "a=opus"}))}

    assert set(shown) == set(Settings.__dataclass_fields__)
    assert (shown["listen"], shown["model_map"], shown["base_url"]) == ("127.0.0.1:8080", "a=opus", "-")
    assert (show(True), show(1.5), show(("a", "b"))) == ("true", "1.5", "a, b")


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("postgresql://ann:canary@db/x", "postgresql://ann:…@db/x"),
        ("postgresql://ann:can/ary@db/x", "postgresql://ann:…@db/x"),
        ("postgresql://ann:can@ary@db/x", "postgresql://ann:…@db/x"),
        ("postgresql://db/x?user=ann&password=canary", "postgresql://db/x?user=ann&password=…"),
        ("postgresql://db:5432/x?application_name=a@b", "postgresql://db:5432/x?application_name=a@b"),
    ],
)
def test_a_databases_password_is_not_shown(url: str, told: str) -> None:
    shown = {name: value for name, value, _, _ in rows(load({}, {"UNDERSTUDY_STORE": url}))}

    assert shown["store"] == told


@pytest.mark.parametrize(
    "url", ["http://ann:can/ary@proxy:1", "http://ann:canary@proxy", "socks5://ann:canary@proxy:1"]
)
def test_a_password_is_not_in_what_is_said_of_a_proxy_that_cannot_be(url: str) -> None:
    with pytest.raises(SettingsError) as refused:
        load({}, {"UNDERSTUDY_UPSTREAM_PROXY": url})

    assert "can" not in str(refused.value)


def test_a_password_in_a_list_of_addresses_is_not_shown() -> None:
    environ = {"UNDERSTUDY_MCP_SERVERS": "https://ann:canary@mcp.example/*\nhttps://other.example/*?api_key=canary"}

    shown = {name: value for name, value, _, _ in rows(load({}, environ))}

    assert shown["mcp_servers"] == "https://ann:…@mcp.example/*, https://other.example/*?api_key=…"


@pytest.mark.parametrize("name", ["password", "sslpassword", "PASSWORD"])
def test_a_databases_password_in_the_query_is_not_shown(name: str) -> None:
    store = f"postgresql://db/x?user=ann&{name}=canary%2F1&sslmode=require"
    shown = {setting: value for setting, value, _, _ in rows(load({}, {"UNDERSTUDY_STORE": store}))}

    assert shown["store"] == f"postgresql://db/x?user=ann&{name}=…&sslmode=require"


@pytest.mark.parametrize("name", ["UNDERSTUDY_RECORD_REDACT_PATTERNS", "UNDERSTUDY_REPLAY_IGNORE_PATTERNS"])
@pytest.mark.parametrize(("pattern", "why"), [("a(?<=b)", "(?<="), (r"(a)\1", "\\1"), ("(", "missing )")])
def test_a_pattern_that_takes_no_bounded_time_is_refused_by_name(name: str, pattern: str, why: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(why)) as refused:
        load({}, {name: pattern})

    assert repr(pattern) in str(refused.value)


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("retries", [1], "it cannot be a list"),
        ("record", ["a.jsonl"], "it cannot be a list"),
        ("record", 3, "3 is not a text; put it in quotes"),
        ("default_model", True, "True is not a text; put it in quotes"),
        ("hosts", ["a.example", 1], "it must be a list of texts"),
        ("model_map", {"gpt-4o": {"a": 1}}, "it must be a table of texts"),
        ("model_map", {"gpt-4o": 3}, "it must be a table of texts"),
    ],
)
def test_a_value_of_another_type_is_refused_and_not_made_text(name: str, value: object, why: str) -> None:
    with pytest.raises(SettingsError) as refused:
        load({}, {}, (FILE, {name: value}))
    assert str(refused.value) == f"{name} (from understudy.toml): {why}"


def test_values_may_have_the_types_that_toml_has_for_them() -> None:
    file = {"hosts": ["a.example"], "model_map": {"gpt-4o": "opus"}, "retries": 1, "rehearsal": True, "listen": 8080}
    settings = load({}, {}, (FILE, file)).settings
    assert settings.hosts == ("api.openai.com", "a.example")
    assert settings.model_map == {"gpt-4o": "opus"}
    assert (settings.retries, settings.rehearsal, settings.listen) == (1, True, ("127.0.0.1", 8080))


def test_a_file_may_begin_with_a_byte_order_mark_and_have_windows_line_ends(tmp_path: Path) -> None:
    (tmp_path / "understudy.toml").write_bytes(b"\xef\xbb\xbfretries = 1\r\n[record]\r\nmax_mb = 3\r\n")
    assert read_file(cwd=tmp_path) == (tmp_path / "understudy.toml", {"retries": 1, "record": {"max_mb": 3}})


def test_a_file_that_is_not_utf_8_is_told_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "understudy.toml").write_bytes(b'retries = 1\nagent = "\xff"\n')
    with pytest.raises(SettingsError, match=r"it is not UTF-8 \(at line 2\)$"):
        read_file(cwd=tmp_path)


@pytest.mark.parametrize("name", ["record", "replay", "data_dir", "log_file", "retries", "listen", "provider"])
def test_an_empty_variable_is_as_if_it_were_not_set(name: str) -> None:
    loaded = load({}, {f"UNDERSTUDY_{name.upper()}": ""}, (FILE, {}))
    assert getattr(loaded.settings, name) == getattr(Settings(), name)
    assert loaded.source[name] == "default"


def test_an_empty_variable_can_empty_a_list() -> None:
    file = {"hosts": ["a.example"], "model_map": {"a": "opus"}}
    names = ("HOSTS", "MODEL_MAP", "REPLAY_IGNORE_PATHS")
    settings = load({}, {f"UNDERSTUDY_{name}": "" for name in names}, (FILE, file)).settings
    assert (settings.hosts, settings.model_map, settings.replay_ignore_paths) == (("api.openai.com",), {}, ())


def test_an_empty_path_is_not_the_working_directory() -> None:
    with pytest.raises(SettingsError, match=r"record .*it is empty"):
        load({}, {}, (FILE, {"record": ""}))


@pytest.mark.parametrize("name", ["chat.jsonl", "tapes", "tapes.d/", "there.is"])
def test_a_recording_goes_to_a_cassette_or_a_folder(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("there.is").mkdir()

    assert load({"record": name}, {}).settings.record == Path(name)
