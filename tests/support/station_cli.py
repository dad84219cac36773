"""The `pipeline` command with the node types of the weather station: `python station_cli.py up station.yaml`."""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

    from support.packages import only_packages

    import engine.cli

    with only_packages("support.weather_station"):
        engine.cli.main()
