from typing import ClassVar

from support.sample_nodes._messages import Command, Reading

from engine import In, Node, Out, param


class WindowControl(Node):
    """Open the window when it is warm."""

    stale_actions: ClassVar = {"close": "Close the window."}

    average = In(Reading, critical=True, refuses=("drop_oldest",), doc="Smoothed temperature.")
    done = In(Command, optional=True, doc="What the window has done.")
    command = Out(Command, doc="How far to open.")

    limit: float = param(25.0, unit="celsius", doc="Open above this.")

    def on_average(self, message: Reading) -> None:
        self.command(
            command_id=str(message.event_time_ns),
            event_time_ns=message.event_time_ns,
            opening=1.0 if message.celsius > self.limit else 0.0,
        )

    def on_done(self, message: Command) -> None:
        self.last = message
