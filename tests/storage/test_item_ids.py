"""An item's id tells whose it is."""

import pytest

from storage.item_ids import asked_id, new_response_id, output_ids, response_of


def test_the_response_of_an_item_is_told_by_its_id() -> None:
    response = new_response_id()
    new_id = output_ids(response)
    ids = [new_id("msg") for _ in range(300)]

    assert len(set(ids)) == 300
    assert {response_of(id) for id in [*ids, asked_id(response, 12)]} == {response}


@pytest.mark.parametrize("id", ["", "msg_1", "resp_1", "item_", "item__1", "msg_\n" + "a" * 50])
def test_other_ids_tell_nothing(id: str) -> None:
    assert response_of(id) is None
