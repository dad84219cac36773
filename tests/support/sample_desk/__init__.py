"""A small trading desk, so that tests of the graph rules do not hang on any real node."""
