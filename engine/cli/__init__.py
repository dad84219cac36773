"""The `pipeline` command. One file per command in this folder; each exports `command`, and its name is the file's.

Other packages add commands through the entry point group `pipeline.commands`, whose values are click commands. A
command parses, calls one function, prints, and returns its exit code (None is 0). Nothing heavy is imported before the
command that needs it runs.
"""

from __future__ import annotations

import importlib
import os
import sys
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

import click

INTERRUPTED = 130


class Commands(click.Group):
    """A group that finds its commands by file name, and turns whatever ends a command into an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*_own_commands(), *_foreign_commands()})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in _own_commands():
            command = importlib.import_module(f"{__name__}.{cmd_name.replace('-', '_')}").command
        elif cmd_name in _foreign_commands():
            command = _foreign_commands()[cmd_name].load()
        else:
            return None
        if not isinstance(command, click.Command):
            raise TypeError(f"command {cmd_name!r} is not a click command but {command!r}")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if self.get_command(ctx, name) is None and not name.startswith("-"):
            from difflib import get_close_matches

            near = get_close_matches(name, self.list_commands(ctx), 1)
            hint = f"did you mean {near[0]!r}?" if near else "`pipeline --help` lists the commands"
            ctx.fail(f"no command {name!r}; {hint}")
        return super().resolve_command(ctx, args)

    def main(self, *args: Any, **kwargs: Any) -> NoReturn:
        kwargs["standalone_mode"] = False
        try:
            code = super().main(*args, **kwargs)
            sys.stdout.flush()
        except click.exceptions.NoArgsIsHelpError as error:
            click.echo(error.format_message())
            code = 0
        except click.ClickException as error:
            error.show()
            code = error.exit_code
        except (click.Abort, KeyboardInterrupt):
            click.echo("interrupted", err=True)
            code = INTERRUPTED
        except BrokenPipeError:
            # The reader of our output has left, as `head` does; nobody is there to be told.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            code = 0
        except Exception as error:  # noqa: BLE001  the one place where every exception ends
            code = report_error(error)
        sys.exit(code or 0)


def _own_commands() -> list[str]:
    names = (path.stem for path in Path(__file__).parent.glob("*.py"))
    return sorted(name.replace("_", "-") for name in names if not name.startswith("_"))


@cache
def _foreign_commands() -> dict[str, Any]:
    if not any(_announces_commands(folder) for folder in sys.path):
        return {}
    from importlib.metadata import entry_points

    return {entry.name: entry for entry in entry_points(group="pipeline.commands")}


def _announces_commands(folder: str) -> bool:
    # Most often no package does, and importing importlib.metadata takes longer than all the rest of `--help`.
    try:
        names = os.listdir(folder or ".")
    except OSError:
        return False
    for name in names:
        if name.endswith((".dist-info", ".egg-info")):
            try:
                text = Path(folder, name, "entry_points.txt").read_bytes()
            except OSError:
                continue  # it has no entry points
            if b"[pipeline.commands]" in text:
                return True
    return False


def report_error(error: Exception) -> int:
    """Print what ended the command to stderr; return the exit code."""
    from engine.errors import ExitCode, PipelineError, TopologyError
    from engine.topology.disguise import without_secrets

    if isinstance(error, TopologyError):
        from engine.topology.render_problems import render

        click.echo(render(error.problems, colour=sys.stderr.isatty()), err=True)
        return error.exit_code
    if isinstance(error, PipelineError):
        for line in (f"error: {error}", *getattr(error, "__notes__", ())):
            click.echo(without_secrets(line), err=True)
        return error.exit_code
    path = _save_traceback(error)
    click.echo(
        f"error: {type(error).__name__}: {without_secrets(str(error))}\n"
        f"This is a mistake in the program, not in your input. The traceback is in {path}; please report it.",
        err=True,
    )
    return ExitCode.BUG


def _save_traceback(error: Exception) -> str:
    import tempfile
    import traceback

    from engine.topology.disguise import disguise, without_secrets

    text = f"command line: {' '.join(sys.argv)}\n{''.join(traceback.format_exception(error))}"
    with tempfile.NamedTemporaryFile("w", prefix="pipeline-", suffix=".traceback.txt", delete=False) as file:
        file.write(disguise(without_secrets(text)))
    return file.name


def _print_version(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        from importlib.metadata import entry_points

        ours = [entry.dist.version for entry in entry_points(group="console_scripts", name="pipeline") if entry.dist]
        click.echo(f"pipeline {', '.join(ours)}, Python {sys.version.split()[0]}")
        ctx.exit()


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 done, 1 failed while running, 2 topology or command line wrong, 3 a mistake of ours.",
)
@click.option(
    "--version", is_flag=True, expose_value=False, is_eager=True, callback=_print_version, help="Print the version."
)
def main() -> None:
    """Check, run and inspect graphs of nodes that are declared in YAML.

    \b
    Examples:
      pipeline validate topologies/backtest/asymmetric_lp.yaml
      pipeline config my.yaml -f overlay.yaml --set fee_tier=3000 --origins
      pipeline nodes list
      pipeline nodes show models.glft_range
    """
