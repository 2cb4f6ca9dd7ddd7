"""Amounts of anything, in words."""

_BYTES = (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3))
_JOULES = (("kWh", 3.6e6), ("kJ", 1e3))


def number(value: float) -> str:
    """Three digits that count, or all in front of the point."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def size(num_bytes: float) -> str:
    """Bytes, in powers of ten."""
    return _in_unit(num_bytes, _BYTES, "B")


def energy(joules: float) -> str:
    """Energy, from joules."""
    return _in_unit(joules, _JOULES, "J")


def percent(part: float, whole: float) -> str:
    """A part of a whole; nothing is no part of nothing."""
    return f"{100 * part / whole if whole else 0.0:.1f} %"


def _in_unit(value: float, units: tuple[tuple[str, float], ...], smallest: str) -> str:
    unit, length = next((each for each in units if value >= each[1]), (smallest, 1.0))
    return f"{number(value / length)} {unit}"
