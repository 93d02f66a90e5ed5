"""How much of all bodies each key may hold. What a client sees of it is in tests/attacks."""

import pytest

from api.body_bounds import SMALL_BODY_BYTES, Bounds

ALL = 100 * SMALL_BODY_BYTES
PIECE = SMALL_BODY_BYTES
ANN, BOB, CLEO = 1, 2, 3


@pytest.fixture
def bounds() -> Bounds:
    return Bounds(max_body_bytes=ALL, max_bodies_bytes=ALL, timeout_s=1, min_bytes_per_s=0)


def fill(bounds: Bounds, holder: int | None, bodies: int = 2) -> int:
    """Have bodies grow in turn until one is refused. Returns how many pieces they have then."""
    names = [f"{holder}/{number}" for number in range(bodies)]
    pieces = 0
    while all(bounds.hold(hash(name), PIECE, holder) is None for name in names):
        pieces += bodies
    return pieces


def test_one_key_holds_half_of_all_and_leaves_the_other_half(bounds: Bounds) -> None:
    assert 48 <= fill(bounds, ANN) <= 52


def test_a_second_key_finds_room_and_so_does_a_third(bounds: Bounds) -> None:
    shares = [fill(bounds, holder) for holder in (ANN, BOB, CLEO)]

    assert shares[0] > shares[1] > shares[2] > 5


def test_without_keys_one_client_may_use_all_the_memory(bounds: Bounds) -> None:
    assert fill(bounds, None) == 100


def test_a_body_that_is_the_only_one_may_take_all(bounds: Bounds) -> None:
    assert fill(bounds, ANN, bodies=1) == 100


def test_a_small_body_always_finds_room(bounds: Bounds) -> None:
    fill(bounds, None)

    assert bounds.hold(hash("small"), SMALL_BODY_BYTES, BOB) is None


def test_a_refusal_names_the_setting_and_what_is_released_can_be_had_again(bounds: Bounds) -> None:
    bounds.hold(1, 50 * PIECE, ANN)
    refusal = bounds.hold(2, 2 * PIECE, ANN)

    assert refusal is not None
    assert (refusal[0], "max_bodies_mb" in refusal[1]) == (503, True)
    bounds.release(1)
    assert bounds.hold(2, 2 * PIECE, ANN) is None
    bounds.release(2)
    assert (bounds.total, bounds.held, bounds.holders) == (0, {}, {})
