"""Not a node type: its name begins with an underscore."""
