"""What is ours to tell stands in headers, and nothing that is not so."""

import pytest

from api.answer_headers import headers_of_answer


def told(
    rehearsal: bool = False, processes: tuple[str, ...] = (), retries: int = 0, ignored: tuple[str, ...] = ()
) -> dict[str, str]:
    headers = headers_of_answer(rehearsal=rehearsal, model="m", processes=processes, retries=retries, ignored=ignored)
    return {name: value for name, value in headers if name.startswith("x-understudy")}


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (told(), {"x-understudy-process": "waiting"}),
        (told(processes=("warm", "cold")), {"x-understudy-process": "warm, cold"}),
        (told(processes=("",)), {"x-understudy-process": "waiting"}),
        (told(retries=2), {"x-understudy-process": "waiting", "x-understudy-retries": "2"}),
        (told(ignored=("seed", "user")), {"x-understudy-process": "waiting", "x-understudy-ignored": "seed, user"}),
        (
            told(ignored=("messages[0].a", "messages[7].a", "messages[7].b")),
            {"x-understudy-process": "waiting", "x-understudy-ignored": "messages[].a, messages[7].b"},
        ),
        (
            told(rehearsal=True),
            {"x-understudy-process": "waiting", "x-understudy-rehearsal": "no model was asked"},
        ),
    ],
)
def test_the_headers_describe_the_answer(headers: dict[str, str], expected: dict[str, str]) -> None:
    assert headers == {"x-understudy-model": "m", **expected}
