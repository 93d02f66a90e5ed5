"""The demo runs a real OpenAI program on the rehearsal and shows both sides."""

import json
import subprocess
from pathlib import Path

from cli.demo.show import pretty
from tests.end_to_end.understudy import UNDERSTUDY, clean_environment


def test_the_newcomers_command_shows_the_answer_and_both_sides(tmp_path: Path) -> None:
    environment = clean_environment(tmp_path / "home", COLUMNS="118")

    done = subprocess.run([UNDERSTUDY, "demo"], env=environment, capture_output=True, text=True, timeout=120)

    assert (done.returncode, done.stderr) == (0, "")
    for words in (
        "no model is asked",
        "This is a rehearsal: no model was asked. You said: “What is an understudy?”.",
        "the app asked https://api.openai.com",
        "You are a Claude agent",
        "message_delta stop_reason=end_turn",
        "data: [DONE]",
    ):
        assert words in done.stdout


def test_json_is_written_with_as_few_lines_as_fit() -> None:
    value = {"a": [1, 2], "b": {"c": "x" * 50, "d": []}}

    text = pretty(value)

    assert json.loads(text) == value
    assert text.splitlines()[0] == '{"a": [1, 2],'
