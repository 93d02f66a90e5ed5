"""Work beside the event loop: in order, and nobody waits for it who need not."""

import gc
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from cassettes.aside import LARGE, MANY, InOrder, weight


def test_without_a_thread_all_is_done_at_once() -> None:
    done: list[int] = []
    order = InOrder()

    order.do(0, lambda: done.append(1))
    order.do(10 * LARGE, lambda: done.append(2))

    assert done == [1, 2]
    assert not order.is_busy


def test_large_work_runs_in_a_thread_and_later_work_waits_for_it() -> None:
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


def test_nothing_is_collected_meanwhile_and_then_as_before() -> None:
    meanwhile = list[bool]()
    with ThreadPoolExecutor(1) as beside:
        InOrder(beside).do(LARGE, lambda: meanwhile.append(gc.isenabled()))

    assert (meanwhile, gc.isenabled()) == ([False], True)


def test_two_at_once_leave_everything_as_it_was_before_both() -> None:
    before = sys.getswitchinterval()
    first_is_in, second_is_in, first_is_out = threading.Event(), threading.Event(), threading.Event()
    seen = list[tuple[float, bool]]()

    def first() -> None:
        first_is_in.set()
        second_is_in.wait(30)

    def second() -> None:
        second_is_in.set()
        first_is_out.wait(30)
        seen.append((sys.getswitchinterval(), gc.isenabled()))

    with ThreadPoolExecutor(1) as other:
        with ThreadPoolExecutor(1) as one:
            InOrder(one).do(LARGE, first)
            first_is_in.wait(30)
            InOrder(other).do(LARGE, second)
        first_is_out.set()

    assert seen[0][0] < before and not seen[0][1]
    assert (sys.getswitchinterval(), gc.isenabled()) == (before, True)


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
