"""A small package of nodes about a greenhouse, so that tests of the engine do not hang on any real node."""
