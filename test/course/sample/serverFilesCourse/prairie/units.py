"""Quantities: a number and a unit, as students write them."""

import re

# unit -> (dimension, how many SI units it is)
UNITS = {
    "m": ("length", 1.0), "km": ("length", 1e3), "cm": ("length", 1e-2), "mm": ("length", 1e-3),
    "in": ("length", 0.0254), "ft": ("length", 0.3048), "mi": ("length", 1609.344),
    "s": ("time", 1.0), "ms": ("time", 1e-3), "min": ("time", 60.0), "h": ("time", 3600.0),
    "m/s": ("speed", 1.0), "km/h": ("speed", 1 / 3.6), "mi/h": ("speed", 0.44704),
    "kg": ("mass", 1.0), "g": ("mass", 1e-3), "lb": ("mass", 0.45359237),
    "N": ("force", 1.0), "kN": ("force", 1e3),
}
QUANTITY = re.compile(r"^\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*([A-Za-z/]*)\s*$")


class UnitError(ValueError):
    """The text is not a quantity that we accept; its message is for the student."""


def read(text, dimension):
    """The value of text in SI units, when it has the wanted dimension."""
    match = QUANTITY.match(text or "")
    if not match:
        raise UnitError("Write a number and a unit, such as 12.5 km/h.")
    value, unit = float(match[1]), match[2]
    if not unit:
        raise UnitError("The unit is missing.")
    if unit not in UNITS:
        raise UnitError(f'The unit "{unit}" is not known here.')
    kind, factor = UNITS[unit]
    if kind != dimension:
        raise UnitError(f'The unit "{unit}" measures {kind}, not {dimension}.')
    return value * factor


def convert(value, source, target):
    """value of one unit in another of the same dimension."""
    if UNITS[source][0] != UNITS[target][0]:
        raise ValueError(f"{source} and {target} measure different things")
    return value * UNITS[source][1] / UNITS[target][1]
