from engine import In, Message, Node


class Ledger(Node):
    """Keeps everything."""

    entry = In(Message, many=True, doc="What to keep.")

    def on_entry(self, message: Message) -> None: ...
