"""`pipeline new`: write the files of a new node type, with a test that passes."""

from __future__ import annotations

import click

NODE = '''"""Say in one line what {name} computes."""

from __future__ import annotations

from engine import In, Message, Node, Out, param


class {cls}Value(Message, frozen=True):
    """Say what one value measures, and in which unit. Use a message of the package where one means the same."""

    event_time_ns: int
    value: float


class {cls}(Node):
    """Multiply each value by a factor."""

    value = In({cls}Value, doc="What to multiply.")
    result = Out({cls}Value, doc="One per value.")

    factor: float = param(1.0, unit="1", minimum=0, doc="Each value is multiplied by this.")

    def on_value(self, message: {cls}Value) -> None:
        self.result(event_time_ns=message.event_time_ns, value=message.value * self.factor)
'''

TEST = '''"""Test of {name}."""

from __future__ import annotations

{imports}


def test_each_value_is_multiplied() -> None:
    node = run_node({cls}, factor=2.0)
    sent = node.on_value({cls}Value(event_time_ns=1, value=21.0))
    assert sent == [("result", {cls}Value(event_time_ns=1, value=42.0))]


def test_a_negative_factor_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 0"):
        run_node({cls}, factor=-1.0)
'''


@click.group()
def command() -> None:
    """Write the files of something new.

    \b
    Example:
      pipeline new node models.my_model
    """


@command.command("node")
@click.argument("name")
def node_command(name: str) -> None:
    """Write node type NAME into the project that the current folder belongs to, and a test that passes.

    `models.my_model` becomes <package>/models/my_model.py, where <package> is what the project announces under the
    entry point group `pipeline.nodes`. Nothing that exists is overwritten.

    \b
    Example:
      pipeline new node models.my_model
    """
    from pathlib import Path

    from engine.scaffold import find_project, new_files, regenerate, write_new

    project = find_project(Path.cwd())
    files = new_files(project, name, NODE, TEST)
    for path in write_new(files):
        click.echo(f"wrote {path.relative_to(project.root)}")
    done = regenerate(project)
    click.echo(done or "this project has no tools/generate.py, so no schema was written")
    click.echo(f"`pipeline nodes show {name}` shows it; its test is `pytest {project.test_path(name)}`")
