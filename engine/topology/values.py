"""From trees to settings, and secrets filled in at start."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from engine.errors import Problem, TopologyError
from engine.topology.disguise import remember
from engine.topology.model import NodeDecl, Origin, Secret, SecretRef, SecretText, Setting, Topology
from engine.topology.tree import Scalar, Tree, leaves, plain

ENV_PREFIX = "PIPELINE_SECRET_"
MAX_SECRET_BYTES = 1 << 16


class SecretMissing(LookupError):
    """A secret is nowhere, or may not be read; the text says where it was looked for, and never holds a secret."""


def setting(tree: Tree) -> Setting:
    """Return a value of a parameter with its origin and the places of all that is inside it."""
    inside = list(leaves(tree))
    secret = any(isinstance(one, Scalar) and isinstance(one.value, SecretRef | SecretText) for _, one in inside)
    if isinstance(tree, Scalar):
        secret = isinstance(tree.value, SecretRef | SecretText)
    return Setting(
        value=plain(tree),
        origin=origin(tree),
        secret=secret,
        places={path: one.place for path, one in inside},
        unit=tree.unit if isinstance(tree, Scalar) else "",
        units={path: one.unit for path, one in inside if isinstance(one, Scalar) and one.unit},
    )


def origin(tree: Tree) -> Origin:
    """Return where a value was written and through which places it is used."""
    return Origin(tree.place, tree.used)


def find_secret(name: str, env: Mapping[str, str] | None = None, folder: Path = Path(".secrets")) -> str:
    """Return the secret `name`; raise SecretMissing.

    Looked for in the environment (PIPELINE_SECRET_<name>), then as a file in $CREDENTIALS_DIRECTORY, /run/secrets and
    `folder`. A file must be a plain one that no other user can read (mode 0600 or less); one final newline is dropped.
    """
    env = os.environ if env is None else env
    if ENV_PREFIX + name in env:
        return Secret(env[ENV_PREFIX + name])
    places = [Path(env["CREDENTIALS_DIRECTORY"])] if env.get("CREDENTIALS_DIRECTORY") else []
    places += [Path("/run/secrets"), folder]
    for place in places:
        path = place / name
        if path.exists() or path.is_symlink():
            return Secret(_read_secret(path, guarded=place == folder))
    looked = ", ".join([f"${ENV_PREFIX}{name}", *(str(place / name) for place in places)])
    raise SecretMissing(f"secret {name} is not set; looked for {looked}")


def resolve_secrets(topology: Topology, lookup: Callable[[str], str] = find_secret) -> Topology:
    """Return the topology with every secret filled in; raise TopologyError naming all that are missing.

    The result is for the process that runs the nodes, and must not be printed or written: `Secret` hides itself in a
    repr, but not from whoever formats it as text. What the command line says of errors is cleaned of it
    (`disguise.without_secrets`).
    """
    found: dict[str, Secret] = {}
    problems: list[Problem] = []

    def get(where: Setting, name: str) -> Secret:
        if name not in found:
            try:
                found[name] = Secret(lookup(name))
                remember(found[name])
            except LookupError as error:
                fix = f"export {ENV_PREFIX}{name}=..., or write the file .secrets/{name} with mode 0600"
                reason = str(error) if isinstance(error, SecretMissing) else f"secret {name} is not set"
                used = tuple(("used here", place) for place in where.origin.used)
                problems.append(Problem("secret-missing", reason, where.origin.place, fix, used))
                found[name] = Secret("")
        return found[name]

    def filled(node: NodeDecl) -> NodeDecl:
        params = dict(node.params)
        for name, one in node.params.items():
            if one.secret:
                params[name] = replace(one, value=_filled(one.value, partial(get, one)))
        return replace(node, params=params)

    result = replace(topology, nodes={node_id: filled(node) for node_id, node in topology.nodes.items()})
    if problems:
        raise TopologyError(problems)
    return result


def secret_names(value: Any) -> Iterator[str]:
    """Yield the names of the secrets within a value."""
    if isinstance(value, SecretRef):
        yield value.name
    elif isinstance(value, SecretText):
        for part in value.parts:
            yield from secret_names(part)
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from secret_names(item)


def _filled(value: Any, get: Callable[[str], Secret]) -> Any:
    if isinstance(value, SecretRef):
        return get(value.name)
    if isinstance(value, SecretText):
        return Secret("".join(get(part.name) if isinstance(part, SecretRef) else part for part in value.parts))
    if isinstance(value, dict):
        return {key: _filled(item, get) for key, item in value.items()}
    return [_filled(item, get) for item in value] if isinstance(value, list) else value


def _read_secret(path: Path, guarded: bool) -> str:
    """Read one secret's file; `guarded` demands that only its owner can read it, as nothing else protects it."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if not stat.S_ISREG(mode):
                raise SecretMissing(f"secret file {path} is not a plain file")
            if guarded and mode & 0o077:
                raise SecretMissing(f"secret file {path} can be read by others (mode {mode & 0o777:o}); chmod 600 it")
            data = file.read(MAX_SECRET_BYTES + 1)
    except OSError as error:
        raise SecretMissing(f"secret file {path} cannot be read: {error.strerror}") from None
    if len(data) > MAX_SECRET_BYTES:
        raise SecretMissing(f"secret file {path} is larger than {MAX_SECRET_BYTES >> 10} KiB")
    try:
        return data.decode("utf-8").removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise SecretMissing(f"secret file {path} is not UTF-8 text") from None
