"""Work beside the event loop: in order, and nobody waits for it who need not."""

import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tape.aside import LARGE, MANY, InOrder, weight


def test_without_a_thread_all_is_done_at_once() -> None:
    done: list[int] = []
    order = InOrder()

    order.do(0, lambda: done.append(1))
    order.do(10 * LARGE, lambda: done.append(2))

    assert done == [1, 2]
    assert not order.is_busy


def test_what_is_large_is_done_beside_and_what_follows_waits_its_turn() -> None:
    done: list[tuple[int, int]] = []
    free = threading.Event()

    def note(number: int) -> None:
        done.append((number, threading.get_ident()))

    def large() -> None:
        free.wait(30)
        note(2)

    with ThreadPoolExecutor(1) as beside:
        order, other = InOrder(beside), InOrder(beside)
        order.do(1, lambda: note(1))
        order.do(LARGE, large)
        order.do(1, lambda: note(3))
        other.do(1, lambda: note(4))
        busy = order.is_busy
        free.set()
        order.wait()
        order.do(1, lambda: note(5))

    assert busy
    assert [number for number, _ in done] == [1, 4, 2, 3, 5]
    me = threading.get_ident()
    assert [number for number, thread in done if thread == me] == [1, 4, 5]


def test_the_interpreter_is_shared_more_finely_meanwhile_and_then_as_before() -> None:
    before, meanwhile = sys.getswitchinterval(), list[float]()
    with ThreadPoolExecutor(1) as beside:
        InOrder(beside).do(LARGE, lambda: meanwhile.append(sys.getswitchinterval()))

    assert meanwhile[0] < before == sys.getswitchinterval()


@pytest.mark.parametrize(
    ("value", "at_least"),
    [
        ("x" * 1000, 1000),
        ({"a": ["x" * 10, b"y" * 20, None]}, 30),
        (list(range(100_000)), MANY),
        ([[n] for n in range(400)] * 2, MANY),
        ({"a": {str(n): n for n in range(1000)}}, MANY),
    ],
)
def test_a_value_weighs_what_it_takes_to_look_through(value: object, at_least: int) -> None:
    assert at_least <= weight(value) < 2 * at_least + 100
