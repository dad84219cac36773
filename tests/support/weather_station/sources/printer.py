from support.weather_station.models.almanac import Page

from engine import Node, Out


class Printer(Node):
    """Prints pages; in a test they are given by hand."""

    page = Out(Page, doc="A day.")
