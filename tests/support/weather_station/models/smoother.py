from support import weather


class Smoother(weather.Smoother):
    """Exponential mean of the readings."""
