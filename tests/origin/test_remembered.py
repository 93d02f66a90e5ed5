"""What is remembered is bounded, and is its owner's alone."""

from origin.remembered import Memory, Remembered


def response(owner: str = "ann", size: int = 10) -> Remembered:
    return Remembered(owner, b"{}", (), (), size)


def test_only_its_owner_is_told_of_a_response() -> None:
    memory = Memory()
    memory.keep("r", response())

    assert memory.find("r", "bob") is None
    assert not memory.forget("r", "bob")
    assert memory.find("r", "ann") is not None
    assert memory.forget("r", "ann")
    assert memory.find("r", "ann") is None


def test_the_least_recently_used_is_forgotten_first() -> None:
    memory = Memory(max_responses=2)
    for id in ("a", "b"):
        memory.keep(id, response())
    memory.find("a", "ann")
    memory.keep("c", response())

    assert [id for id in "abc" if memory.find(id, "ann")] == ["a", "c"]


def test_no_more_bytes_are_kept_than_may_be() -> None:
    memory = Memory(max_bytes=25)
    for id in ("a", "b", "c"):
        memory.keep(id, response())

    assert [id for id in "abc" if memory.find(id, "ann")] == ["b", "c"]


def test_keeping_one_again_counts_it_once() -> None:
    memory = Memory(max_bytes=25)
    for _ in range(5):
        memory.keep("a", response())
    memory.keep("b", response())

    assert memory.find("a", "ann") and memory.find("b", "ann")
