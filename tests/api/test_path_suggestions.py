"""What an unknown path was probably meant to be."""

import pytest

from api.path_suggestions import LONGEST, closest_path
from api.routes import ROUTES
from api.routing import supports

TEMPLATES = [route.template for route in ROUTES]


def closest(path: str) -> str | None:
    return closest_path(path, TEMPLATES, lambda other: supports(ROUTES, other))


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        pytest.param("/v1/v1/chat/completions", "/v1/chat/completions", id="the version twice"),
        pytest.param("/v1/v1", None, id="nothing but the version"),
        pytest.param("/api/v1/responses", "/v1/responses", id="a prefix before the version"),
        pytest.param("/openai/deployments/gpt-4o/chat/completions", "/v1/chat/completions", id="Azure's path"),
        pytest.param("/v2/chat/completions", "/v1/chat/completions", id="another version"),
        pytest.param("/v1/chat/completion", "/v1/chat/completions", id="a letter is missing"),
        pytest.param("/v1/chat/complete", "/v1/chat/completions", id="another word"),
        pytest.param("/v1//chat/completions", "/v1/chat/completions", id="a slash too many"),
        pytest.param("/v1/response/resp_1", "/v1/responses/resp_1", id="a letter is missing before an id"),
        pytest.param("/v1/model/gpt-4o", "/v1/models/gpt-4o", id="a letter is missing before a model"),
        pytest.param("/v1/embeddings", None, id="an endpoint that is not answered"),
        pytest.param("/v1/moderations", None, id="an endpoint of OpenAI's that is spelt like one of ours"),
        pytest.param("/v1/files/file-0123456789abcdef0123", None, id="an id makes no likeness"),
        pytest.param("/v1/responses/input_tokens", None, id="never the path itself"),
        pytest.param("/responses/input_tokens", "/v1/responses/input_tokens", id="a fixed word in an id's place"),
        pytest.param("/", None, id="the root"),
        pytest.param("", None, id="no path"),
        pytest.param("*", None, id="a star"),
    ],
)
def test_the_closest_path(asked: str, meant: str | None) -> None:
    assert closest(asked) == meant


def test_a_path_that_is_too_long_is_not_compared() -> None:
    assert closest("/v1/v1/models/" + "x" * (LONGEST - 14)) is not None
    assert closest("/v1/v1/models/" + "x" * (LONGEST - 13)) is None
