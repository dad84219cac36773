from engine import In, Message, Node


class Log(Node):
    """Keep everything."""

    anything = In(Message, many=True, doc="What to keep.")

    def start(self) -> None:
        self.kept: list[Message] = []

    def on_anything(self, message: Message) -> None:
        self.kept.append(message)
