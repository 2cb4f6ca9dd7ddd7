"""fedray: a Ray-based distributed scale-out simulator for federated learning."""

__version__ = "0.1.0"
