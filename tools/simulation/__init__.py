"""The trading loop in a seeded world that goes wrong: `python -m tools.simulate`."""
