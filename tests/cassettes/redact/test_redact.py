"""What is a secret, and what is not."""

import base64
import json

import pytest

from cassettes.redact.pseudonyms import Names
from cassettes.redact.redact import MAX_KNOWN, Redactor, parse_json, parse_path, path_matches

KEY = "sk-proj-abcdefgh12345678"
PEM = "-----BEGIN EC PRIVATE KEY-----\nMIIEvQIB\nADANBgkq\n-----END EC PRIVATE KEY-----"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"({KEY})", "(redacted:key-1)"),
        (f"{KEY}, {KEY}x", "redacted:key-1, redacted:key-2"),
        ("Bearer abc.def_123456", "Bearer redacted:token-1"),
        ("AKIAIOSFODNN7EXAMPLE", "redacted:key-1"),
        ("ghp_16C7e42F292c6912E7710c838347Ae178B4a", "redacted:token-1"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl", "redacted:token-1"),
        (PEM, "redacted:private-key-1"),
        (PEM[:50], "redacted:private-key-1"),
        (PEM.replace("\n", "\\n") + " and", "redacted:private-key-1 and"),
        ("postgres://ann:pa55@db/x", "postgres://ann:redacted:password-1@db/x"),
        ("hf_abcdefGHIJKL0123456789 npm_0123456789abcdefGHIJ", "redacted:token-1 redacted:token-2"),
        ("AIzaSyA1234567890abcdefghijklmnop", "redacted:key-1"),
        ("xoxb-123456789012-abcdef", "redacted:token-1"),
        ('{"password": "not shaped"}', '{"password": "redacted:secret-1"}'),
        ('{\\"api_key\\": \\"it\'s me\\"}', '{\\"api_key\\": \\"redacted:secret-1\\"}'),
        ("API_KEY=abc12345", "API_KEY=redacted:secret-1"),
        ("run --openai-api-key abc12345 --verbose", "run --openai-api-key redacted:secret-1 --verbose"),
        ("run --password 'it is me'", "run --password 'redacted:secret-1'"),
        ("password: hunter2hunter", "password: redacted:secret-1"),
        ("token = 'abcdef'", "token = 'redacted:secret-1'"),
    ],
)
def test_a_secret_is_replaced_and_what_surrounds_it_stays(text: str, expected: str) -> None:
    assert Redactor().text(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "sk-learn is a library, sk- is a prefix, task-oriented-thinking-20 is none",
        "Bearer authentication is a scheme; basic understanding helps",
        "max_tokens=100, prompt_tokens: 12345678, total_tokens=99999999",
        "def connect(user, password=None, token=token): ...",
        "give it --token FILE, or --no-token at all; --token-file tokens.txt",
        "The password: choose one that nobody else knows",
        '{"token": "Hello", "logprob": -0.1}',
        "redacted:key-1 and password=redacted:password-22",
        "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
        "https://example.com:8080/a@b",
        "chatcmpl-8f14e45fceea167a5a36dedd4bea2543",
        "from huggingface_hub import hf_hub_download",
        "npm_config_registry, npm_lifecycle_event",
    ],
)
def test_a_text_without_secrets_is_not_changed(text: str) -> None:
    assert Redactor().text(text) == text


def test_headers_are_redacted_by_name_and_keep_their_scheme() -> None:
    redactor = Redactor(headers=["X-Own"])
    headers = {
        "Authorization": f"Bearer {KEY}",
        "X-Api-Key": "anything at all",
        "x-own": "mine",
        "Cookie": "a=b",
        "X-Session-Token": "t",
        "Accept": "*/*",
        "User-Agent": f"app {KEY}",
    }

    assert dict(redactor.headers(headers.items())) == {
        "Authorization": "Bearer redacted:key-1",
        "X-Api-Key": "redacted:key-2",
        "x-own": "redacted:secret-1",
        "Cookie": "redacted:cookie-1",
        "X-Session-Token": "redacted:token-1",
        "Accept": "*/*",
        "User-Agent": "app redacted:key-1",
    }


def test_queries_and_forms_are_redacted_by_name() -> None:
    redactor = Redactor()

    assert redactor.target("/v1/x%20?key=abc&n=1&password=p%2Bq&&sig=s") == (
        "/v1/x%20?key=redacted:key-1&n=1&password=redacted:password-1&&sig=redacted:key-2"
    )
    assert redactor.form("key=stays&client_secret=x") == "key=stays&client_secret=redacted:secret-1"


def test_json_is_redacted_by_key_path_and_number() -> None:
    redactor = Redactor(json_paths=["$.metadata.user", "$..ssn", "$.list[1]"])
    body = {
        "apiKey": "a",
        "max_tokens": 5,
        "pin": 1,
        "password": 1234,
        "client_secret": {"value": "v", "expires_at": 3},
        "tools": [{"parameters": {"properties": {"password": {"type": "string", "default": "hunter2"}}}}],
        "metadata": {"user": "ann", "other": "x"},
        "deep": [{"ssn": "078-05"}],
        "list": ["a", "b"],
        "token": None,
    }

    assert redactor.document(body) == {
        "apiKey": "redacted:key-1",
        "max_tokens": 5,
        "pin": 1,
        "password": "redacted:password-1",
        "client_secret": {"value": "redacted:secret-1", "expires_at": 3},
        "tools": [{"parameters": {"properties": {"password": {"type": "string", "default": "redacted:password-2"}}}}],
        "metadata": {"user": "redacted:secret-2", "other": "x"},
        "deep": [{"ssn": "redacted:secret-3"}],
        "list": ["a", "redacted:secret-4"],
        "token": None,
    }


@pytest.mark.parametrize(
    "spelt",
    [
        pytest.param(lambda s: s, id="as it is"),
        pytest.param(lambda s: json.dumps(s)[1:-1], id="as JSON"),
        pytest.param(lambda s: json.dumps(json.dumps(s))[1:-1], id="as JSON within JSON"),
        pytest.param(
            lambda s: s.replace("/", "%2f").replace('"', "%22").replace("é", "%c3%a9").replace(" ", "+"), id="in a URL"
        ),
    ],
)
def test_a_known_secret_is_found_however_it_is_spelt(spelt: object) -> None:
    secret = 'an/odd "sécret'
    redactor = Redactor(secrets=[secret])

    assert callable(spelt) and redactor.text(f"<{spelt(secret)}>").strip('<>"\\') == "redacted:secret-1"


@pytest.mark.parametrize("before", range(5))
def test_a_known_secret_is_found_inside_base64(before: int) -> None:
    redactor = Redactor(secrets=["correct horse battery"])
    encoded = base64.b64encode(b"." * before + b"correct horse battery, and more").decode()

    whole = base64.b64decode(redactor.text(encoded))
    inside = redactor.text(f"x {encoded} y")

    assert whole == b"." * before + b"redacted:secret-1, and more"
    assert "redacted:secret-1" in inside
    assert base64.b64encode(b"horse bat")[1:-1].decode() not in inside


def test_a_short_secret_is_replaced_where_it_stands_only() -> None:
    redactor = Redactor()

    assert redactor.document({"password": "true", "x": "true"}) == {"password": "redacted:password-1", "x": "true"}


def test_only_the_secrets_seen_last_are_looked_for_and_the_persons_own_always() -> None:
    redactor = Redactor(secrets=["the-person's-own"])
    for n in range(MAX_KNOWN + 1):
        redactor.learn(f"secret number {n}", "key")

    assert redactor.text("secret number 0") == "secret number 0"
    assert redactor.text("secret number 1;") == "redacted:key-2;"
    assert redactor.text("the-person's-own") == "redacted:secret-1"


def test_own_patterns_are_shapes() -> None:
    redactor = Redactor(patterns=[r"ACME-\d+", r"user (\w+)"])

    assert redactor.text("ACME-12 of user ann") == "redacted:secret-1 of user redacted:secret-2"


def test_another_cassettes_redactor_has_the_rules_but_not_the_secrets() -> None:
    first = Redactor(secrets=["configured"], headers=["x-own"])
    first.learn("learned only here", "key")
    other = first.named_by(Names())

    assert other.text("configured, learned only here") == "redacted:secret-1, learned only here"
    assert other.headers([("X-Own", "v")]) == [("X-Own", "redacted:secret-2")]


@pytest.mark.parametrize(
    ("rule", "path", "matches"),
    [
        ("$.a.b", "a b", True),
        ("$.a.b", "a", False),
        ("$.a[*].b", "a 0 b", True),
        ("$.a[1]", "a 1", True),
        ("$..b", "a 0 b", True),
        ("$.*", "a b", False),
        ("$['a']", "a", True),
    ],
)
def test_a_json_path_names_its_places(rule: str, path: str, matches: bool) -> None:
    assert path_matches(parse_path(rule), path.split()) is matches


@pytest.mark.parametrize("path", ["", "a.b", "$"])
def test_an_invalid_json_path_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="is not a JSON path"):
        parse_path(path)


@pytest.mark.parametrize("text", ['{"a": 1, "a": 1}', "NaN", "{"])
def test_json_that_would_lose_something_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - json's own words
        parse_json(text)


def test_rules_for_other_places_change_nothing_of_what_is_found() -> None:
    secret = "sk-proj-" + "a1b2c3d4" * 4
    value = {
        "id": secret,
        "type": "a",
        "delta": {"content": f"It is {secret}.", "n": 1, "at": 1.5, "is": True, "none": None, "nan": float("nan")},
        "api_key": {"value": "secret value", "note": "no secret", "default": 12345678, "on": True},
        "token": {"text": "a word", "bytes": [1, 2]},
        "tokens": "not one",
        "password": 1234,
        secret: "named",
        "logprobs": {"token": "Hello", "list": [{"token": " world"}, secret]},
        "tools": [{"headers": {"x-any": "whatever", "accept": "text/html"}}],
        "empty": "",
    }

    def found(redactor: Redactor) -> tuple[object, list[tuple[object, ...]]]:
        lanes: list[tuple[object, ...]] = []
        whole = redactor.document(value)
        return (whole, redactor.document(value, lambda *lane: lanes.append(lane))), lanes

    # Without rules for places, most of JSON takes a quicker way.
    assert found(Redactor()) == found(Redactor(json_paths=["$.nowhere.in.it"]))
    assert secret not in json.dumps(Redactor().document(value))
