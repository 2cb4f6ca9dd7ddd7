"""The round loop, its records and the reference backend."""
