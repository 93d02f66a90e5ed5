"""A connection remembers its last responses."""

from api.recent import MOST, Recent


def test_the_last_are_remembered() -> None:
    recent = Recent()
    for number in range(MOST + 1):
        recent.add(f"resp_{number}", ({"id": number},))

    assert recent.conversation("resp_0") is None
    assert recent.conversation("resp_1") == ({"id": 1},)
