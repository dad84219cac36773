"""What docs/running.md says of commands is true: they and their options exist."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from engine.cli import main

PAGE = (Path(__file__).parents[3] / "docs" / "running.md").read_text(encoding="utf-8")
USES = sorted(set(re.findall(r"pipeline ([a-z]+)([^`#\n|]*)", PAGE)))


@pytest.mark.parametrize(("name", "rest"), USES)
def test_commands_and_their_options_exist(name: str, rest: str) -> None:
    command = main.get_command(main.make_context("pipeline", [], resilient_parsing=True), name)
    assert isinstance(command, click.Command)
    known = {option for param in command.params for option in param.opts + param.secondary_opts}
    assert set(re.findall(r"(?<=\s)--?[a-z][a-z-]*", rest)) <= known


@pytest.mark.parametrize("name", ["up", "down", "ps", "logs", "top", "tap", "restart", "kill", "rearm", "diff"])
def test_help_teaches_with_examples(name: str) -> None:
    command = main.get_command(main.make_context("pipeline", [], resilient_parsing=True), name)
    assert command is not None
    text = command.get_help(click.Context(command, info_name=name))
    assert "Examples:" in text
    assert f"pipeline {name}" in text
    assert "--json" in text
