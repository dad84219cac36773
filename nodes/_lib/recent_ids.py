"""Ids that were seen of late: what is told twice is taken once, in memory that does not grow without end."""

from __future__ import annotations

REMEMBERED = 10_000
"""Ids that are kept. One that comes again after so many others is taken for new."""


class RecentIds:
    """The last `REMEMBERED` different ids, kept in `ids`, the oldest first.

    `ids` belongs to the caller, who keeps it as state: a list, since the journal keeps its order, and no set or dict.
    """

    def __init__(self, ids: list[str]) -> None:
        self.ids = ids
        self._known = set(ids)

    def __contains__(self, id: str) -> bool:
        return id in self._known

    def add(self, id: str) -> bool:
        """Remember an id; return whether it is new."""
        if id in self._known:
            return False
        self._known.add(id)
        self.ids.append(id)
        if len(self.ids) > REMEMBERED:
            self._known.discard(self.ids.pop(0))
        return True
