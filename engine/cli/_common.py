"""What the commands share: the options that name a topology, and reading it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from engine.topology.model import Topology

F = TypeVar("F", bound=Callable[..., Any])


class TopologyFile(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """A topology file, or a pipe such as /dev/stdin; completes directories and `.yaml` names."""

    name = "file"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        path = Path(value)
        if path.is_dir():
            self.fail(f"{str(path)!r} is a folder; name a file in it", param, ctx)
        if not path.is_file() and not path.is_fifo():
            from difflib import get_close_matches

            beside = [str(item) for item in path.parent.glob("*.y*ml")] if path.parent.is_dir() else []
            near = get_close_matches(str(path), beside, 1)
            self.fail(f"no file {str(path)!r}" + (f"; did you mean {near[0]!r}?" if near else ""), param, ctx)
        return path

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
        from click.shell_completion import CompletionItem

        folder, _, prefix = incomplete.rpartition("/")
        root = Path(f"{folder}/" if folder else ".")
        items = []
        for path in sorted(root.iterdir()) if root.is_dir() else []:
            text = f"{folder}/{path.name}" if folder or incomplete.startswith("/") else path.name
            if not path.name.startswith(prefix or ".") and (prefix or path.name.startswith(".")):
                continue
            if path.is_dir() and _leads_to_yaml(path):
                items.append(CompletionItem(text + "/"))
            elif path.suffix in (".yaml", ".yml"):
                items.append(CompletionItem(text))
        return items


def _leads_to_yaml(folder: Path) -> bool:
    if folder.name.startswith((".", "__")):
        return False
    return any(True for _ in folder.rglob("*.yaml"))


def overlay_option(function: F) -> F:
    """Add `-f`: overlays merged over the topology in the given order."""
    return click.option(
        "-f",
        "--overlay",
        "overlays",
        type=TopologyFile(),
        multiple=True,
        help="YAML file merged over the topology; may be given several times, the last wins.",
    )(function)


def set_option(function: F) -> F:
    """Add `--set`: values of the topology's own parameters."""
    return click.option(
        "--set",
        "sets",
        metavar="NAME=VALUE",
        multiple=True,
        help="Set a parameter of the topology; may be given several times.",
    )(function)


def read_topology(file: Path, overlays: Sequence[Path] = (), sets: Sequence[str] = ()) -> Topology:
    """Load and expand one topology; raise TopologyError with all problems of its text."""
    from engine.topology.load import load_topology

    return load_topology([file, *overlays], list(sets))


def needed(*modules: str) -> None:
    """Raise UsageError, with what to do, where a module is missing that runs in processes need."""
    from importlib.util import find_spec

    from engine.errors import UsageError

    if missing := [module for module in modules if find_spec(module) is None]:
        raise UsageError(f"{', '.join(missing)} is missing; install it with `pip install 'asymmetric-lp[run]'`")
