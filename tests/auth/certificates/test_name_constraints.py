import pytest
from cryptography import x509

from auth.certificates.name_constraints import is_address, name_constraints, names_in, permitted_names


@pytest.mark.parametrize(
    ("hosts", "permitted"),
    [
        pytest.param(["api.openai.com"], ("api.openai.com",), id="a host is its own subtree"),
        pytest.param(["API.OpenAI.com."], ("api.openai.com",), id="case and a last dot mean nothing"),
        pytest.param(["*.example.com"], ("example.com",), id="a wildcard label needs the domain above"),
        pytest.param(["gw-*.corp"], ("corp",), id="so does a wildcard within a label"),
        pytest.param(["a.*.b.example.com"], ("b.example.com",), id="what is left of the wildcard cannot be held"),
        pytest.param(["*.a.*.example.com"], ("example.com",), id="the last wildcard counts"),
        pytest.param(["b.example", "a.example", "b.example"], ("a.example", "b.example"), id="sorted, each once"),
        pytest.param(["*.example.com", "x.example.com", "example.com"], ("example.com",), id="none within another"),
        pytest.param(["anexample.com", "example.com"], ("anexample.com", "example.com"), id="labels, not letters"),
        pytest.param(["localhost"], ("localhost",), id="a network's own name may have one label"),
        pytest.param(["bücher.example"], ("xn--bcher-kva.example",), id="other scripts as they are on the wire"),
        pytest.param(["10.0.0.5", "a.example"], ("a.example",), id="an address is no name"),
        pytest.param(["10.0.*"], (), id="nor is a pattern of addresses"),
    ],
)
def test_hosts_become_the_narrowest_subtrees_that_hold_them(hosts: list[str], permitted: tuple[str, ...]) -> None:
    assert permitted_names(hosts) == permitted


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("*.com", r"'\*\.com' would permit every name in \.com"),
        ("*example.com", "every name in .com"),
        ("api.*.com", "every name in .com"),
        ("*.co.uk", "every name in .co.uk"),
        ("com", "every name in .com"),
        ("*.xn--p1ai", "every name in .xn--p1ai"),
        ("api.*", r"'api\.\*' keeps to no domain"),
        ("api.example*", "keeps to no domain"),
        ("a..example", "is no host name"),
        (f"{'a' * 64}.example", "is no host name"),
    ],
)
def test_a_pattern_that_no_subtree_can_hold_is_refused_by_name(pattern: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        permitted_names(["api.openai.com", pattern])


@pytest.mark.parametrize("host", ["10.0.0.5", "10.0.*", "*.0.0.1", "::1", "[::1]"])
def test_an_address_is_told_from_a_name(host: str) -> None:
    assert is_address(host)


@pytest.mark.parametrize("host", ["1.example", "*.example", "10.0.0.5.example", "localhost"])
def test_a_name_is_told_from_an_address(host: str) -> None:
    assert not is_address(host)


def test_the_extension_permits_the_names_and_excludes_every_address() -> None:
    extension = name_constraints(("a.example", "b.example"))

    assert names_in(extension) == ("a.example", "b.example")
    assert [str(name.value) for name in extension.excluded_subtrees or ()] == ["0.0.0.0/0", "::/0"]


def test_an_extension_that_permits_only_other_things_names_no_host() -> None:
    assert names_in(x509.NameConstraints([x509.RFC822Name("example.com")], None)) == ()
