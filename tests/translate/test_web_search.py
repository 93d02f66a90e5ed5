"""A search of the web, and what an answer cites."""

import pytest

from translate.errors import OpenAIError
from translate.web_search import Citations, Domains, Place, UrlCitation, found_urls, web_search_tool

CITED = {"type": "web_search_result_location", "url": "https://a.example", "title": None}


def test_only_what_was_said_is_told() -> None:
    assert web_search_tool(Place(), Domains(allowed_domains=[]), max_uses=0) == {
        "type": "web_search_20250305",
        "name": "web_search",
    }


def test_claude_takes_one_kind_of_domains() -> None:
    with pytest.raises(OpenAIError) as caught:
        web_search_tool(None, Domains(allowed_domains=["a"], blocked_domains=["b"]), where="filters")

    assert caught.value.param == "filters"


def test_a_search_that_failed_has_no_addresses() -> None:
    assert found_urls({"type": "web_search_tool_result_error"}) is None
    assert found_urls([{"url": "https://a.example"}, {"type": "new"}]) == ["https://a.example"]


def test_a_page_is_cited_once_for_the_text_of_its_block() -> None:
    citations = Citations()
    citations.begin(3)
    citations.cite(CITED)
    citations.cite(CITED)
    citations.cite({"type": "char_location", "document_title": "x"})

    assert citations.end(9) == [UrlCitation("https://a.example", "", 3, 9)]
    assert citations.end(12) == []


def test_no_text_cites_nothing() -> None:
    citations = Citations()
    citations.begin(3)
    citations.cite(CITED)

    assert citations.end(3) == []
