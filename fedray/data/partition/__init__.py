"""How a table is cut up into clients."""
