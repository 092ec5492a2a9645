"""The models that come with the package, by name. This module does not import torch, which takes seconds."""

import fnmatch

from sfi_zoo.folders import folder

DEFAULT_MODEL = "convtasnet_mgf_gate.music4"
BUNDLED = folder("hub_configs")


def list_models(pattern: str = "*") -> list[str]:
    """Names of the bundled models that match a shell pattern, sorted; those of others are in `sfi_zoo.hub.published`."""
    folders = [config.parent for config in BUNDLED.glob("*/config.json")]
    names = sorted(folder.name for folder in folders if not (folder / "source.json").exists())
    return fnmatch.filter(names, pattern)
