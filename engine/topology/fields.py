"""Read values of an expected kind out of a tree, with one report for each that is of another."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from ipaddress import ip_address

from engine import units
from engine.topology.model import TcpAddress
from engine.topology.report import Report, near, shown, suggestion
from engine.topology.tree import Broken, Listing, Map, Scalar, Tree, kind

NO_ITEMS: tuple[Tree, ...] = ()
TCP_ADDRESS = re.compile(r"tcp://(\[[0-9A-Fa-f:.]{2,45}\]|[0-9.]{7,15}):([0-9]{1,5})")


class Fields:
    """Reads values; `what` in each call is how an error names the value, as in `node 'feed': 'use'`."""

    def __init__(self, report: Report) -> None:
        self.report = report

    def map(self, tree: Tree | None, what: str, fix: str = "") -> Map | None:
        """Return a mapping, or None (reported) when the value is of another kind."""
        if tree is None or isinstance(tree, Map):
            return tree
        self.wrong(tree, what, "a mapping", fix)
        return None

    def section(self, file: Map, key: str, form: str) -> Map | None:
        """Return a section of a file, or None when it is absent or empty; report another kind."""
        tree = file.entries.get(key)
        if isinstance(tree, Scalar) and tree.value is None:
            return None
        return self.map(tree, repr(key), f"write {key}: {form}")

    def items(self, tree: Tree | None, what: str, fix: str = "") -> tuple[Tree, ...]:
        """Return the items of a list, none when it is absent or empty; report another kind."""
        if isinstance(tree, Listing):
            return tree.items
        if tree is not None and not (isinstance(tree, Scalar) and tree.value is None):
            self.wrong(tree, what, "a list", fix)
        return NO_ITEMS

    def text(self, tree: Tree | None, what: str, fix: str = "") -> str | None:
        """Return a text, or None (reported) when the value is of another kind."""
        if tree is None:
            return None
        if isinstance(tree, Scalar) and isinstance(tree.value, str):
            return tree.value
        self.wrong(tree, what, "text", fix)
        return None

    def choice(self, tree: Tree | None, what: str, choices: Sequence[str]) -> str | None:
        """Return one of `choices`, or None (reported)."""
        text = self.text(tree, what)
        if tree is None or text is None or text in choices:
            return text
        self.report.add(
            "bad-value",
            f"{what} cannot be {shown(text)}",
            tree.place,
            suggestion(text, choices, what="choose one of"),
            used=tree.used,
        )
        return None

    def whole(self, tree: Tree | None, what: str, minimum: int = 0, maximum: int | None = None) -> int | None:
        """Return a whole number within bounds, or None (reported)."""
        if tree is None:
            return None
        if not isinstance(tree, Scalar) or not isinstance(tree.value, int) or isinstance(tree.value, bool):
            self.wrong(tree, what, "a whole number")
            return None
        if tree.value < minimum or (maximum is not None and tree.value > maximum):
            bound = f"from {minimum} to {maximum}" if maximum is not None else f"of at least {minimum}"
            self._bad(tree, f"{what} needs a whole number {bound}, got {shown(tree.value)}")
            return None
        return tree.value

    def number(self, tree: Tree | None, what: str, maximum: float | None = None) -> float | None:
        """Return a number above 0 and up to `maximum`, or None (reported)."""
        if tree is None:
            return None
        if not isinstance(tree, Scalar) or not isinstance(tree.value, int | float) or isinstance(tree.value, bool):
            self.wrong(tree, what, "a number")
            return None
        if maximum is not None and tree.value > maximum:
            self._bad(tree, f"{what} must be at most {maximum:g}, got {shown(tree.value)}")
            return None
        return self._positive(tree, what, float(tree.value))

    def seconds(self, tree: Tree | None, what: str) -> float | None:
        """Return a time above 0 in seconds from a number or text such as `10m`, or None (reported)."""
        return self._positive(tree, what, self._measured(tree, what, "s"))

    def bytes(self, tree: Tree | None, what: str, minimum: int = 1) -> int | None:
        """Return a number of bytes from a number or text such as `512MiB`, or None (reported)."""
        count = self._positive(tree, what, self._measured(tree, what, "B"))
        if tree is None or count is None or count >= minimum:
            return None if count is None else int(count)
        least = f"{minimum >> 20}MiB" if minimum >= 1 << 20 else f"{minimum >> 10}KiB"
        fix = "write the unit, as in 512MiB" if isinstance(tree, Scalar) and not isinstance(tree.value, str) else ""
        message = f"{what} is {int(count)} bytes; it must be at least {least}"
        self.report.add("bad-value", message, tree.place, fix, used=tree.used)
        return None

    def truth(self, tree: Tree | None, what: str) -> bool | None:
        """Return true or false, or None (reported) when the value is of another kind."""
        if tree is None:
            return None
        if isinstance(tree, Scalar) and isinstance(tree.value, bool):
            return tree.value
        self.wrong(tree, what, "true or false")
        return None

    def tcp_address(self, tree: Tree | None, what: str) -> TcpAddress | None:
        """Return an address such as `tcp://10.0.0.5:7100`, or None (reported)."""
        text = self.text(tree, what, "write tcp://ADDRESS:PORT")
        if tree is None or text is None:
            return None
        found = TCP_ADDRESS.fullmatch(text)
        port = int(found[2]) if found else 0
        host = self._host(found[1].strip("[]")) if found else None
        if host is None or not 1 <= port <= 65535:
            fix = "write tcp://ADDRESS:PORT with a numeric address of the machine, such as tcp://10.0.0.5:7100"
            self.report.add("bad-value", f"{what} cannot be {shown(text)}", tree.place, fix, used=tree.used)
            return None
        return TcpAddress(host, port)

    def host(self, tree: Tree | None, what: str) -> str | None:
        """Return a numeric address of a machine, such as `10.0.0.5`, or None (reported)."""
        text = self.text(tree, what, "write an address of the machine, such as 10.0.0.5")
        if tree is None or text is None:
            return None
        host = self._host(text.strip("[]"))
        if host is None:
            fix = "write a numeric address of the machine, such as 10.0.0.5"
            self.report.add("bad-value", f"{what} cannot be {shown(text)}", tree.place, fix, used=tree.used)
        return host

    @staticmethod
    def _host(text: str) -> str | None:
        """Return the address in its usual form; None for a name, and for what stands for every address."""
        try:
            address = ip_address(text)
        except ValueError:
            return None
        plain = not (address.is_unspecified or address.is_multicast or getattr(address, "scope_id", None))
        return str(address) if plain else None

    def known_keys(self, tree: Map, what: str, allowed: Iterable[str]) -> None:
        """Report every key that is not allowed."""
        names = list(allowed)
        for key in tree.entries:
            if key not in names:
                fix = suggestion(key, names, what="its keys")
                self.report.add("unknown-key", f"{what} has no key {shown(key)}", tree.keys[key], fix, used=tree.used)

    def lacks(self, tree: Map, key: str, allowed: Iterable[str]) -> bool:
        """Return whether a key is missing; one that is only misspelt is not, since `known_keys` tells of it."""
        if key in tree.entries:
            return False
        names = set(allowed)
        return all(near(other, names) != key for other in tree.entries if other not in names)

    def wrong(self, tree: Tree, what: str, wanted: str, fix: str = "") -> None:
        """Report a value of the wrong kind; what is broken already has its report."""
        if isinstance(tree, Broken):
            return
        if kind(tree) == "a secret":
            message = f"{what} cannot come from a secret"
            self.report.add(
                "secret-misplaced", message, tree.place, "secrets go into params of nodes only", used=tree.used
            )
            return
        got = kind(tree)
        if isinstance(tree, Scalar) and tree.value is not None:
            got += f" ({shown(tree.value)})"
        self.report.add("wrong-kind", f"{what} must be {wanted}, not {got}", tree.place, fix, used=tree.used)

    def _measured(self, tree: Tree | None, what: str, unit: str) -> float | None:
        if tree is None:
            return None
        value = tree.value if isinstance(tree, Scalar) else None
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            self.wrong(tree, what, "a number, or text with its unit")
            return None
        try:
            return units.seconds(value) if unit == "s" else units.byte_count(value)
        except (units.UnitError, OverflowError) as error:
            self._bad(tree, f"{what} {error}" if isinstance(error, units.UnitError) else f"{what} is too large")
            return None

    def _positive(self, tree: Tree | None, what: str, value: float | None) -> float | None:
        if tree is not None and value is not None and value <= 0:
            self._bad(tree, f"{what} must be above 0, got {value:g}")
            return None
        return value

    def _bad(self, tree: Tree, message: str) -> None:
        self.report.add("bad-value", message, tree.place, used=tree.used)
