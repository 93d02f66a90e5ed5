"""The hosts that Claude Code needs with each source of credentials."""

from auth.credentials.hosts import OF_A_LOGIN, hosts_for
from auth.credentials.sources import HELPER, LOGIN, REHEARSAL, SOURCES, find_source
from engine.destinations import destinations


def test_with_a_key_the_api_alone_is_reached() -> None:
    hosts = hosts_for(find_source({"ANTHROPIC_API_KEY": "k"}), {}, ("*.example.com",))

    assert (hosts.api, hosts.others, hosts.any_other) == (("api.anthropic.com:443",), ("*.example.com",), False)


def test_a_base_url_takes_the_place_of_the_api() -> None:
    assert hosts_for(REHEARSAL, {"ANTHROPIC_BASE_URL": "http://127.0.0.1:9"}).api == ("127.0.0.1:9",)


def test_a_login_can_be_renewed_while_the_api_answers() -> None:
    to = destinations({}, hosts_for(LOGIN, {}))

    assert to.kind("platform.claude.com", 443) == "other"
    assert to.kind("api.anthropic.com", 443) == "api"
    assert to.kind("telemetry.example.com", 443) == "refused"
    assert set(OF_A_LOGIN) <= set(to.hosts.others)


def test_a_command_that_prints_a_key_may_ask_any_host_for_it() -> None:
    to = destinations({}, hosts_for(HELPER, {}))

    assert (to.kind("vault.example.com", 443), to.kind("api.anthropic.com", 443)) == ("other", "api")


def test_every_cloud_reaches_its_api_and_gets_its_credentials() -> None:
    for source in SOURCES:
        if source.is_cloud:
            to = destinations({}, hosts_for(source, {}))
            assert to.kind("bedrock-runtime.eu-central-1.amazonaws.com", 443) == "api"
            assert to.kind("169.254.169.254", 80) == "other"
            assert to.kind("oauth2.googleapis.com", 443) == "other"


def test_the_gateway_of_a_cloud_is_its_api() -> None:
    environ = {"CLAUDE_CODE_USE_BEDROCK": "1", "ANTHROPIC_BEDROCK_BASE_URL": "http://127.0.0.1:8080"}
    to = destinations({}, hosts_for(find_source(environ), environ))

    assert (to.kind("127.0.0.1", 8080), to.kind("sts.amazonaws.com", 443)) == ("api", "other")
