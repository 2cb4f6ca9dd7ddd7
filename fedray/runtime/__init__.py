"""Driver and client actors: the only folder that imports ray."""
