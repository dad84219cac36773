"""Node types of the weather station, under their names: `models.siren` and so on."""
