from typing import Literal

from support.sample_nodes._messages import Level, Reading

from engine import Node, Out, param


class Thermometer(Node):
    """Measure the air, and the water in the tank."""

    reading = Out(Reading, doc="One per period.")
    level = Out(Level, optional=True, doc="Water in the tank.")

    sensor: str = param("north", doc="Name of the sensor.")
    period_s: float = param(60.0, unit="s", exclusiveMinimum=0, doc="Time between readings.")
    scale: Literal["celsius", "kelvin"] = param("celsius", doc="Scale of the sensor.")
    password: str = param("", secret=True, doc="Password of the sensor.")
    address: str = param("tcp://127.0.0.1:9000", doc="Address of the sensor.")
    port: int = param(0, unit="port", minimum=0, maximum=65535, doc="Port of the status page; 0 for none.")
