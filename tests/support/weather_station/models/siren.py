from support import weather


class Siren(weather.Siren):
    """Raises an alarm above a limit."""
