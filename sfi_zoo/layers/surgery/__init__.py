"""Layers into a trained model of anyone's (`make_sfi`), and plain layers out of it again (`freeze`)."""

from sfi_zoo.layers.surgery.freeze import freeze
from sfi_zoo.layers.surgery.make_sfi import make_sfi, sfi_layers
from sfi_zoo.layers.surgery.report import Report, explain

__all__ = ["Report", "explain", "freeze", "make_sfi", "sfi_layers"]
