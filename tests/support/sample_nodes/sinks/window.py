from support.sample_nodes._messages import Command

from engine import In, Node, Out


class Window(Node):
    """Move the window and say so."""

    command = In(Command, doc="How far to open.")
    done = Out(Command, optional=True, doc="What was done.")

    def on_command(self, message: Command) -> None:
        self.done.whole(message)
