"""Read the ends of wires: `node.port`, `hub:name/topic`, and the writers of an input with their policies."""

from __future__ import annotations

import re
from dataclasses import dataclass

from engine.topology.fields import Fields
from engine.topology.model import POLICY_KINDS, OnStale, Origin, Policy, PortRef
from engine.topology.report import shown
from engine.topology.tree import Listing, Map, Scalar, Tree
from engine.topology.values import origin

ID_PART = re.compile(r"[a-z][a-z0-9_]*")
ID = re.compile(r"[a-z][a-z0-9_]*(?:\.[a-z][a-z0-9_]*)*")
TOPIC = re.compile(r"(?=.{1,64}$)[A-Za-z0-9_][A-Za-z0-9_.-]*(?:/[A-Za-z0-9_.-]+)*")
TOPIC_FORM = "write at most 64 letters, digits and _ . - in parts that are joined by /"
WRITER_KEYS = ("from", "policy", "by", "n", "ttl", "on_stale")

_PORT = re.compile(r"([a-z][a-z0-9_]*(?:\.[a-z][a-z0-9_]*)*)\.([A-Za-z_][A-Za-z0-9_]*)")
_HUB = re.compile(r"hub:([A-Za-z_][A-Za-z0-9_-]*)(?:/(\S*))?")
_FORMS = "write NODE.PORT or hub:NAME/TOPIC"


@dataclass(frozen=True, slots=True)
class Writer:
    """One end of a wire as it is written somewhere. `prefix` is that of the file, against which names are private."""

    ref: PortRef
    policy: Policy
    origin: Origin
    prefix: str


def joined(prefix: str, name: str) -> str:
    """Return an id under a prefix."""
    return f"{prefix}.{name}" if prefix else name


def port_named(text: str, prefix: str) -> PortRef | None:
    """Return the port that a text names in a file included under `prefix`, or None when it names none."""
    hub = _HUB.fullmatch(text)
    if hub:
        return PortRef(hub[1], hub[2] or "", hub=True)
    port = _PORT.fullmatch(text)
    return PortRef(joined(prefix, port[1]), port[2]) if port else None


def writers(tree: Tree, prefix: str, what: str, fields: Fields) -> list[Writer]:
    """Return the writers of one input in the order in which they are declared."""
    items = tree.items if isinstance(tree, Listing) else (tree,)
    found = [_writer(item, prefix, what, fields) for item in items]
    return [writer for writer in found if writer is not None]


def hub_targets(tree: Tree, prefix: str, what: str, fields: Fields) -> list[Writer]:
    """Return the hub topics that an output is copied to."""
    result = []
    for item in tree.items if isinstance(tree, Listing) else (tree,):
        target = _port(item, prefix, what, fields)
        if target is None:
            continue
        if not target.hub:
            message = f"{what} leads to {str(target)!r}, but outputs are written to hubs only"
            fix = f"write it at the reader: in: {{{target.port}: ...}} of node {target.node!r}"
            fields.report.add("out-not-hub", message, item.place, fix, used=item.used)
            continue
        result.append(Writer(target, Policy(), origin(item), prefix))
    return result


def _writer(tree: Tree, prefix: str, what: str, fields: Fields) -> Writer | None:
    if not isinstance(tree, Map):
        ref = _port(tree, prefix, what, fields)
        return Writer(ref, Policy(), origin(tree), prefix) if ref else None
    fields.known_keys(tree, f"a writer of {what}", WRITER_KEYS)
    entries = tree.entries
    source = entries.get("from")
    if fields.lacks(tree, "from", WRITER_KEYS):
        fields.report.add("missing-key", f"{what} names no writer", tree.place, "add from: NODE.PORT", used=tree.used)
    ref = _port(source, prefix, what, fields) if source else None
    chosen = fields.choice(entries.get("policy"), f"policy of {what}", POLICY_KINDS)
    policy = Policy(
        kind=next((kind for kind in POLICY_KINDS if kind == chosen), None),
        by=fields.text(entries.get("by"), f"'by' of {what}"),
        n=fields.whole(entries.get("n"), f"'n' of {what}", 1),
        ttl_s=fields.seconds(entries.get("ttl"), f"'ttl' of {what}"),
        on_stale=_on_stale(entries.get("on_stale"), what, fields),
    )
    return Writer(ref, policy, origin(source), prefix) if ref and source else None


def _on_stale(tree: Tree | None, what: str, fields: Fields) -> OnStale | None:
    stale = fields.map(tree, f"'on_stale' of {what}", "write on_stale: {after: 30s, action: ACTION}")
    if stale is None:
        return None
    fields.known_keys(stale, f"'on_stale' of {what}", ("after", "action"))
    for key in ("after", "action"):
        if fields.lacks(stale, key, ("after", "action")):
            message = f"'on_stale' of {what} has no {key!r}"
            fields.report.add(
                "missing-key", message, stale.place, "write on_stale: {after: 30s, action: ACTION}", used=stale.used
            )
    after_s = fields.seconds(stale.entries.get("after"), f"'after' of {what}")
    action = fields.text(stale.entries.get("action"), f"'action' of {what}")
    return OnStale(after_s, action) if after_s is not None and action is not None else None


def _port(tree: Tree, prefix: str, what: str, fields: Fields) -> PortRef | None:
    text = fields.text(tree, what, _FORMS)
    if text is None:
        return None
    ref = port_named(text.strip(), prefix)
    if ref is None:
        message = f"{what}: {shown(text)} names no port"
        fields.report.add("bad-port", message, tree.place, _FORMS, used=tree.used)
    return ref


def is_null(tree: Tree) -> bool:
    """Return whether a value is null, which removes what it stands for."""
    return isinstance(tree, Scalar) and tree.value is None
