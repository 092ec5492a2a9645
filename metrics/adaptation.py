"""The adaptation modes, from where they live: `sfi_zoo.models.adaptation`."""

from sfi_zoo.models.adaptation import MODES, Adapted

__all__ = ["MODES", "Adapted"]
