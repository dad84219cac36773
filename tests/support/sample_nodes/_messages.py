from engine import Message


class Reading(Message):
    sensor: str
    event_time_ns: int
    celsius: float


class Command(Message):
    delivery = "reliable"

    command_id: str
    event_time_ns: int
    opening: float


class Level(Message):
    event_time_ns: int
    litres: float
