import dataclasses
import os
from pathlib import Path

import pytest

from launch.environment import (
    API_KEY_PLACEHOLDER,
    NODE_SHIM,
    ROWS,
    WrappedEnvironment,
    covers,
    environment_for,
    scrub,
    scrub_overrides,
)
from launch.trust import TrustFiles

PROXY = "http://127.0.0.1:8080"
TRUST = TrustFiles(
    bundle=Path("/p/bundle.pem"),
    extra=Path("/p/extra.pem"),
    java_store=Path("/p/store.p12"),
    php_folder=Path("/p/php"),
)
HOSTS = ("api.openai.com",)


def wrap(**base: str) -> WrappedEnvironment:
    return environment_for(base, proxy_url=PROXY, trust=TRUST, hosts=HOSTS)


def test_every_client_is_sent_to_the_proxy_and_told_what_to_trust() -> None:
    changes = wrap().changes

    by_value: dict[str, set[str]] = {}
    for name, value in changes.items():
        by_value.setdefault(value, set()).add(name)
    assert by_value.pop(PROXY) == {
        *("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"),
        *("WS_PROXY", "WSS_PROXY", "GLOBAL_AGENT_HTTP_PROXY", "npm_config_proxy", "npm_config_https_proxy"),
    }
    assert by_value.pop("/p/bundle.pem") == {
        *("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "HTTPLIB2_CA_CERTS", "GIT_SSL_CAINFO"),
        "CARGO_HTTP_CAINFO",
        *("AWS_CA_BUNDLE", "PERL_LWP_SSL_CA_FILE", "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", "PIP_CERT", "npm_config_cafile"),
    }
    assert by_value.pop("/p/extra.pem") == {"NODE_EXTRA_CA_CERTS", "DENO_CERT"}
    assert by_value == {
        "localhost,127.0.0.1,::1": {"NO_PROXY", "no_proxy"},
        "1": {"NODE_USE_ENV_PROXY"},
        f'--require "{NODE_SHIM}"': {"NODE_OPTIONS"},
        API_KEY_PLACEHOLDER: {"OPENAI_API_KEY"},
        changes["JAVA_TOOL_OPTIONS"]: {"JAVA_TOOL_OPTIONS"},
        f"{os.pathsep}/p/php": {"PHP_INI_SCAN_DIR"},
    }


def test_no_variable_stands_in_two_rows_and_each_row_has_a_reason() -> None:
    names = [name for row in ROWS for name in row.names]

    assert len(names) == len(set(names))
    assert all(row.reason for row in ROWS)


def test_the_rest_of_the_environment_is_kept() -> None:
    wrapped = wrap(PATH="/bin", HTTPS_PROXY=PROXY)

    assert wrapped.full == {"PATH": "/bin", "HTTPS_PROXY": PROXY, **wrapped.changes}
    assert "HTTPS_PROXY" not in wrapped.changes


def test_wrapping_what_is_wrapped_changes_nothing() -> None:
    once = wrap(NODE_OPTIONS="--no-warnings", JAVA_TOOL_OPTIONS="-Xmx1g", NO_PROXY="internal")

    again = environment_for(once.full, proxy_url=PROXY, trust=TRUST, hosts=HOSTS)

    assert again.changes == {}


def test_the_persons_own_key_is_kept() -> None:
    assert wrap(OPENAI_API_KEY="sk-mine").full["OPENAI_API_KEY"] == "sk-mine"


def test_the_shim_is_put_behind_the_persons_own_node_options() -> None:
    assert wrap(NODE_OPTIONS="--no-warnings").full["NODE_OPTIONS"] == f'--no-warnings --require "{NODE_SHIM}"'


def test_without_a_shim_node_options_is_left_alone() -> None:
    wrapped = environment_for({}, proxy_url=PROXY, trust=TRUST, hosts=HOSTS, node_shim=None)

    assert "NODE_OPTIONS" not in wrapped.full


def test_java_is_given_the_proxy_and_the_store_behind_the_persons_own_options() -> None:
    assert wrap(JAVA_TOOL_OPTIONS="-Xmx1g").full["JAVA_TOOL_OPTIONS"].split() == [
        "-Xmx1g",
        "-Dhttps.proxyHost=127.0.0.1",
        "-Dhttps.proxyPort=8080",
        "-Dhttp.proxyHost=127.0.0.1",
        "-Dhttp.proxyPort=8080",
        "-Dhttp.nonProxyHosts=localhost|127.*|[::1]",
        "-Djavax.net.ssl.trustStore=/p/store.p12",
        "-Djavax.net.ssl.trustStoreType=PKCS12",
        "-Djavax.net.ssl.trustStorePassword=changeit",
    ]


@pytest.mark.parametrize(
    ("path", "quoted"),
    [
        ("/a b/c", '"-Djavax.net.ssl.trustStore=/a b/c"'),
        ("/o'clock", '"-Djavax.net.ssl.trustStore=/o""\'""clock"'),
        ('/a"b', "'-Djavax.net.ssl.trustStore=/a\"b'"),
    ],
)
def test_a_java_option_is_quoted_as_the_jvm_reads_it(path: str, quoted: str) -> None:
    trust = dataclasses.replace(TRUST, java_store=Path(path))

    wrapped = environment_for({}, proxy_url=PROXY, trust=trust, hosts=HOSTS)

    assert quoted in wrapped.full["JAVA_TOOL_OPTIONS"]


def test_java_hosts_that_go_past_the_proxy_lose_the_intercepted_ones() -> None:
    options = wrap(JAVA_TOOL_OPTIONS="-Dhttp.nonProxyHosts=*.openai.com|*.corp").full["JAVA_TOOL_OPTIONS"]

    assert options.count("-Dhttp.nonProxyHosts") == 2
    assert "-Dhttp.nonProxyHosts=localhost|127.*|[::1]|*.corp" in options


def test_php_reads_our_settings_behind_the_persons_own() -> None:
    own = f"/etc/php{os.pathsep}/mine"

    assert wrap(PHP_INI_SCAN_DIR=own).full["PHP_INI_SCAN_DIR"] == f"{own}{os.pathsep}/p/php"


def test_no_proxy_keeps_the_persons_entries_but_those_that_cover_an_intercepted_host() -> None:
    wrapped = wrap(NO_PROXY="internal.corp, .openai.com  10.0.0.0/8", no_proxy="internal.corp,db:5432,*")

    assert wrapped.full["NO_PROXY"] == "localhost,127.0.0.1,::1,internal.corp,10.0.0.0/8,db:5432"
    assert wrapped.full["no_proxy"] == wrapped.full["NO_PROXY"]
    assert wrapped.notes == ("Left out of NO_PROXY, since they cover an intercepted host: .openai.com, *.",)


def test_an_intercepted_host_on_loopback_is_not_reached_directly() -> None:
    wrapped = environment_for({}, proxy_url=PROXY, trust=TRUST, hosts=["localhost"])

    assert wrapped.full["NO_PROXY"] == "127.0.0.1,::1"


@pytest.mark.parametrize(
    "entry",
    [
        *("api.openai.com", "API.OpenAI.com", "openai.com", ".openai.com", "*.openai.com", "com", "*"),
        *("api.openai.com:443", ".openai.com:443", "*:443", "https://api.openai.com", "api.*.com", "api.openai.com."),
        "ai.com",  # requests compares ends of strings, not labels
    ],
)
def test_an_entry_covers_a_host_if_any_tool_may_think_so(entry: str) -> None:
    assert covers(entry, "api.openai.com")


@pytest.mark.parametrize(
    "entry", ["openai.org", "eu.api.openai.com", "api.openai.co", "localhost", "10.0.0.0/8", "127.*", "[::1]:80"]
)
def test_an_entry_that_no_tool_takes_for_a_host_is_kept(entry: str) -> None:
    assert not covers(entry, "api.openai.com")


@pytest.mark.parametrize(
    ("entry", "host", "expected"),
    [
        ("foo.example.com", "*.example.com", True),
        ("example.com", "*.example.com", True),
        (".com", "*.example.com", True),
        ("example.org", "*.example.com", False),
        ("*.us.example.com", "api.*.example.com", True),
        ("api.example.com", "api.example.com:8443", True),
        ("10.0.0.0/8", "10.1.2.3", True),
        ("10.0.0.0/8", "11.1.2.3", False),
        ("[::1]:443", "::1", True),
    ],
)
def test_an_entry_covers_a_pattern_if_some_host_fits_both(entry: str, host: str, expected: bool) -> None:
    assert covers(entry, host) is expected


def test_a_proxy_of_the_persons_own_is_overwritten_with_a_note() -> None:
    wrapped = wrap(HTTPS_PROXY="http://user:secret@proxy.corp:3128")

    assert wrapped.full["HTTPS_PROXY"] == PROXY
    assert [note.split(" named ")[0] for note in wrapped.notes] == ["HTTPS_PROXY"]
    assert "secret" not in "".join(wrapped.notes)


def test_a_base_url_that_goes_past_the_proxy_is_noted() -> None:
    notes = wrap(OPENAI_BASE_URL="https://gateway.corp/v1", OPENAI_API_BASE="https://api.openai.com/v1").notes

    assert [note.split(",")[0] for note in notes] == ["OPENAI_BASE_URL names gateway.corp"]


def test_a_java_trust_store_of_the_persons_own_is_noted() -> None:
    assert len(wrap(JAVA_TOOL_OPTIONS="-Djavax.net.ssl.trustStore=/x.jks").notes) == 1


OWN = [("127.0.0.1", 8080)]


@pytest.mark.parametrize(
    "value",
    [
        *("http://127.0.0.1:8080", "http://localhost:8080/", "http://user:key@127.0.0.1:8080", "http://[::1]:8080"),
        *("127.0.0.1:8080", "HTTP://LOCALHOST:8080", "http://127.0.0.2:8080", "http://0.0.0.0:8080"),
    ],
)
def test_claude_does_not_inherit_what_names_the_proxy(value: str) -> None:
    assert scrub({"HTTPS_PROXY": value, "ANTHROPIC_BASE_URL": value, "HOME": "/"}, OWN) == {"HOME": "/"}


@pytest.mark.parametrize(
    "value",
    ["http://proxy.corp:3128", "http://127.0.0.1:3128", "proxy.corp:8080", "http://", "http://x:y:z", "", "8080"],
)
def test_claude_keeps_a_proxy_of_the_persons_own(value: str) -> None:
    assert scrub({"HTTPS_PROXY": value}, OWN) == {"HTTPS_PROXY": value}


def test_claude_keeps_the_java_options_that_are_not_ours() -> None:
    base = {"JAVA_TOOL_OPTIONS": "-Xmx1g -Dhttps.proxyHost=127.0.0.1 -Dhttps.proxyPort=8080 -Dhttp.proxyHost=corp"}

    assert scrub(base, OWN) == {"JAVA_TOOL_OPTIONS": "-Xmx1g -Dhttp.proxyHost=corp"}


def test_java_options_that_are_all_ours_are_dropped() -> None:
    assert scrub({"JAVA_TOOL_OPTIONS": "-Dhttp.proxyHost=localhost -Dhttp.proxyPort=8080"}, OWN) == {}


def test_claude_inherits_no_variable_that_names_the_proxy() -> None:
    scrubbed = scrub(wrap(PATH="/bin").full, OWN)

    assert "8080" not in " ".join(scrubbed.values())
    assert scrubbed["PATH"] == "/bin"


def test_variables_of_this_proxy_are_emptied() -> None:
    assert scrub_overrides({"HTTPS_PROXY": PROXY, "HOME": "/"}, OWN) == {"HTTPS_PROXY": ""}
