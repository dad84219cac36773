from typing import ClassVar

from support.sample_nodes._messages import Reading

from engine import In, Node, Out, param


class Average(Node):
    """Average readings over time."""

    stale_actions: ClassVar = {"hold": "Repeat the last average.", "stop": "Send nothing."}

    reading = In(Reading, policy="conflate", by="sensor", doc="What to average.")
    correction = In(Reading, optional=True, many=True, doc="Added to the average.")
    average = Out(Reading, doc="One per reading.")

    half_life_s: float = param(unit="s", exclusiveMinimum=0, doc="Weight halves in this time.")
    offset: float = param(0.0, unit="celsius", doc="Added to each reading.")

    def start(self) -> None:
        self.value = self.offset

    def on_reading(self, message: Reading) -> None:
        self.value += (message.celsius - self.value) / 2
        self.average(sensor=message.sensor, event_time_ns=message.event_time_ns, celsius=self.value)

    def on_correction(self, message: Reading) -> None:
        self.value += message.celsius
