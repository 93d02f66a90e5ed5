"""The engine's own recorded events fold into the completions that were recorded with them."""

import json
from pathlib import Path

import pytest

from fixtures.record import FOLDER, TURNS, completion


@pytest.mark.parametrize("name", TURNS)
def test_a_recorded_turn_folds_into_its_completion(name: str) -> None:
    lines = (FOLDER / f"{name}.events.jsonl").read_text(encoding="utf-8").splitlines()

    folded = completion(name, [json.loads(line) for line in lines])

    assert folded == json.loads((FOLDER / f"{name}.completion.json").read_text(encoding="utf-8"))


def test_every_recording_is_of_a_turn_that_can_be_recorded_again() -> None:
    names = {path.name.removesuffix(".events.jsonl") for path in Path(FOLDER).glob("*.events.jsonl")}

    assert names == set(TURNS)
