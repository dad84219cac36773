"""The ports that an included file offers to whoever includes it, and the wires that use them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from engine.errors import Place
from engine.topology.fields import Fields
from engine.topology.model import PortRef
from engine.topology.report import Report, shown, suggestion
from engine.topology.tree import Listing, Map, Scalar, Tree
from engine.topology.writers import Writer, port_named

PORT_KEYS = ("doc", "to", "optional")


@dataclass(frozen=True, slots=True)
class Offer:
    """One port that a template offers: what it leads to inside, as absolute ports."""

    name: str
    targets: tuple[PortRef, ...]
    place: Place
    doc: str = ""
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Template:
    """One use of an included file. `outputs` is None when it keeps no output to itself."""

    file: str
    prefix: str
    inputs: dict[str, Offer] = field(default_factory=dict)
    outputs: dict[str, Offer] | None = None

    def offers(self, ref: PortRef) -> bool:
        """Return whether an output inside is offered to the outside."""
        return self.outputs is None or any(ref in offer.targets for offer in self.outputs.values())


def declared_template(tree: Map, file: str, prefix: str, fields: Fields) -> Template:
    """Read a file's `ports:`, each NAME: doc or NAME: {doc, to, optional}. NAME is the port inside, unless `to` is."""
    ports = fields.section(tree, "ports", "{in: {NODE.PORT: what it is for}}")
    if ports is None:
        return Template(file, prefix)
    fields.known_keys(ports, "'ports'", ("in", "out"))
    inputs = _offers(ports.entries.get("in"), prefix, fields)
    outputs = _offers(ports.entries["out"], prefix, fields) if "out" in ports.entries else None
    return Template(file, prefix, inputs, outputs)


def _offers(tree: Tree | None, prefix: str, fields: Fields) -> dict[str, Offer]:
    result: dict[str, Offer] = {}
    listed = fields.map(tree, "a template's ports", "write {NODE.PORT: what it is for}")
    for name, value in listed.entries.items() if listed else ():
        place, what = listed.keys[name] if listed else value.place, f"port {name!r} of the template"
        inside: list[tuple[str, Place]] = [(name, place)]
        doc, optional = value, False
        if isinstance(value, Map):
            fields.known_keys(value, what, PORT_KEYS)
            given = value.entries.get("optional")
            if given is not None and not (isinstance(given, Scalar) and isinstance(given.value, bool)):
                fields.wrong(given, f"'optional' of {what}", "true or false")
            optional = isinstance(given, Scalar) and given.value is True
            to = value.entries.get("to")
            if to is not None:
                ends = to.items if isinstance(to, Listing) else (to,)
                inside = [(text, end.place) for end in ends if (text := fields.text(end, f"'to' of {what}"))]
            doc = value.entries.get("doc", Scalar(place, (), ""))
        targets = []
        for text, at in inside:
            ref = port_named(text, prefix)
            if ref is None or ref.hub:
                fix = "name it NODE.PORT, or add to: NODE.PORT"
                fields.report.add("bad-port", f"{what}: {shown(text)} is no port inside", at, fix)
            else:
                targets.append(ref)
        text = "" if isinstance(doc, Scalar) and doc.value is None else fields.text(doc, f"doc of {what}") or ""
        result[name] = Offer(name, tuple(targets), place, text, optional)
    return result


def check_targets(template: Template, nodes: Iterable[str], report: Report) -> None:
    """Report offered ports that lead to no node of the file."""
    known = list(nodes)
    for offer in (*template.inputs.values(), *(template.outputs or {}).values()):
        for target in offer.targets:
            if target.node not in known:
                inside = [node.removeprefix(f"{template.prefix}.") for node in known]
                name = target.node.removeprefix(f"{template.prefix}.")
                message = f"port {offer.name!r} of the template leads to node {name!r}, which is not there"
                report.add("template-port-unknown", message, offer.place, suggestion(name, inside, what="its nodes"))


class Passage:
    """Follows names through templates: offered names to the ports inside, and what is kept inside refused."""

    def __init__(self, templates: dict[str, Template], report: Report) -> None:
        self.templates = templates
        self.report = report

    def inside(self, ref: PortRef, writer: Writer, *, reading: bool) -> tuple[PortRef, ...]:
        """Return the ports that `ref` means; an offered name leads to what is behind it."""
        if ref.hub:
            return (ref,)
        template = self.templates.get(ref.node)
        if template is not None:
            offer = (template.outputs or {} if reading else template.inputs).get(ref.port)
            if offer is not None:
                return tuple(deeper for target in offer.targets for deeper in self._deeper(target, writer, reading))
        if reading:
            self._refuse_private(ref, writer)
        return (ref,)

    def _deeper(self, target: PortRef, writer: Writer, reading: bool) -> tuple[PortRef, ...]:
        # What a template offers may be offered to it by a template of its own; targets never lead upward.
        template = self.templates.get(target.node)
        offer = None
        if template is not None:
            offer = (template.outputs or {} if reading else template.inputs).get(target.port)
        if offer is None or target in offer.targets:
            return (target,)
        return tuple(deeper for one in offer.targets for deeper in self._deeper(one, writer, reading))

    def _refuse_private(self, ref: PortRef, writer: Writer) -> None:
        parts = ref.node.split(".")
        for length in range(1, len(parts)):
            prefix = ".".join(parts[:length])
            template = self.templates.get(prefix)
            if template is None or writer.prefix == prefix or writer.prefix.startswith(f"{prefix}."):
                continue
            if not template.offers(ref):
                name = str(ref).removeprefix(f"{prefix}.")
                message = f"{template.file} does not offer its output {name!r}"
                fix = suggestion(name, template.outputs or {}, what="it offers")
                fix += f"; or add it there: ports: {{out: {{{name}: ...}}}}"
                self.report.add("template-port-unknown", message, writer.origin.place, fix, used=writer.origin.used)
            if template.outputs is not None:
                return
