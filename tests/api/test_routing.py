"""Which route a request has, and the parameters of its path."""

import pytest

from api.routes import ROUTES
from api.routing import Route, find, supports, with_version


def test_a_parameter_takes_a_segment_or_all_that_follows() -> None:
    models = Route("GET", "/v1/models/{model…}", ROUTES[0].endpoint)
    items = Route("GET", "/v1/conversations/{id}/items/{item_id}", ROUTES[0].endpoint)

    assert models.fits("/v1/models/a/b") and models.fits("/v1/models/a")
    assert not models.fits("/v1/models/")
    assert items.fits("/v1/conversations/c/items/i") and items.fits("/v1/conversations/c/items/i/")
    for path in ("/v1/conversations//items/i", "/v1/conversations/c/items", "/v1/conversations/c/items/i/j"):
        assert not items.fits(path)


def test_paths_are_supported_whatever_the_method() -> None:
    assert supports(ROUTES, "/v1/chat/completions/")
    assert not supports(ROUTES, "/v1/embeddings")


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        ("/chat/completions", "/v1/chat/completions"),
        ("/responses/resp_1/cancel", "/v1/responses/resp_1/cancel"),
        ("/models/a/b", "/v1/models/a/b"),
        ("/v1/chat/completions", "/v1/chat/completions"),
        ("/health", "/health"),
        ("/embeddings", "/embeddings"),
        ("/v1/embeddings", "/v1/embeddings"),
        ("/", "/"),
    ],
)
def test_a_path_without_its_version_gets_it_where_that_makes_a_route(asked: str, answered: str) -> None:
    assert with_version(ROUTES, asked) == answered


def test_parameters_are_found_by_their_names_and_decoded() -> None:
    models = find(ROUTES, "GET", "/v1/models/org/my%20model")
    items = find(ROUTES, "GET", "/v1/conversations/c%2F1/items/i/")

    assert models.params("/v1/models/org/my%20model") == {"model": "org/my model"}
    assert items.params("/v1/conversations/c%2F1/items/i/") == {"id": "c/1", "item_id": "i"}


def test_a_path_that_does_not_fit_has_no_parameters() -> None:
    with pytest.raises(ValueError, match="/v1/models is not /v1/models/"):
        find(ROUTES, "GET", "/v1/models/a").params("/v1/models")


def test_no_two_routes_share_a_method_and_a_path() -> None:
    keys = [(route.method, route.template) for route in ROUTES]

    assert len(keys) == len(set(keys))
