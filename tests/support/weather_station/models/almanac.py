from decimal import Decimal

from support.weather import Reading

from engine import In, Message, Node, Out


class Page(Message):
    """What an almanac says of one day."""

    day: str
    rain_mm: Decimal
    readings: tuple[Reading, ...]
    event_time_ns: int
    grown: bool = False
    note: str | None = None
    drops: int = 0


class Almanac(Node):
    """Passes pages on; a page without readings makes it fail."""

    page = In(Page, doc="A day.")
    copy = Out(Page, doc="The same day.")

    def on_page(self, page: Page) -> None:
        assert page.readings, f"no readings on {page.day}"
        self.copy.whole(page)
