"""The README.md that a saved or an imported model gets."""

import json
from dataclasses import dataclass
from typing import Any

from sfi_zoo.hub.catalogue import Row
from sfi_zoo.hub.expectations import section
from sfi_zoo.models import ARCHITECTURES
from sfi_zoo.wording import markdown_text

_HEAD = """---
{metadata}
---

# {name}

{architecture} that separates {sources} at any sampling frequency;
trained at {sample_rate} Hz, {parameters} parameters.

{usage}
{expect}
"""

_USAGE = """```python
import torch

import sfi_zoo
from sfi_zoo.data.synthetic import song

sample_rate = 44100  # any from 4000 to 192000 Hz
waveform = torch.from_numpy(sum(song(seed=1, duration=5, sample_rate=sample_rate).values())).float()  # (channels, time)
model = sfi_zoo.load({where})
stems = model.separate(waveform, sample_rate)  # (sources, channels, time), at the same sample rate
```
"""

_FOREIGN = """
`{architecture}` is no architecture of sfi_zoo: first run the code of its author that registers it (`@sfi_zoo.register`).
"""

_IMPORTED = """
## Source

Converted from {origin}

    {command}

{about}"""


@dataclass(frozen=True)
class Source:
    """Where an imported model came from.

    Attributes:
        origin: the file, and the repository that holds it.
        command: what imported it.
        about: how it differs from the original, and the paper.
        license: as Hugging Face names it.
    """

    origin: str
    command: str
    about: str
    license: str


def usage(where: str) -> str:
    """A snippet for a card that runs as it is pasted: a model and a song from a formula.

    Args:
        where: what `sfi_zoo.load` takes.
    """
    return _USAGE.format(where=json.dumps(where))


def model_card(
    name: str, model: Any, source: Source | None = None, license: str | None = None, where: str | None = None
) -> str:
    """A minimal model card.

    Args:
        name: title, the name of the folder.
        model: the separator.
        source: where an imported checkpoint came from; without it the card says nothing of a source.
        license: as Hugging Face names it; that of the source when omitted. Without either the card has none.
        where: what `load` takes: a Hub id; a folder when omitted.
    """
    from huggingface_hub import ModelCardData

    metadata: dict[str, Any] = type(model)._hub_mixin_info.model_card_data.to_dict()
    metadata["tags"] = [*metadata["tags"], model.architecture]
    metadata["license"] = license or (source.license if source else None)
    text = _HEAD.format(
        name=markdown_text(name),
        metadata=ModelCardData(**metadata).to_yaml(),
        usage=usage(where or f"path/to/{name}"),
        architecture=model.architecture,
        sources=", ".join(map(markdown_text, model.sources)),
        sample_rate=model.trained_rate,
        expect=section(Row(name, "", tuple(model.sources), int(model.trained_rate), None, "")),
        parameters=sum(parameter.numel() for parameter in model.parameters()),
    )
    if model.architecture not in ARCHITECTURES:
        text += _FOREIGN.format(architecture=model.architecture)
    if source is None:
        return text
    origin, command = markdown_text(source.origin), " ".join(source.command.split())
    return text + _IMPORTED.format(origin=origin, command=command, about=source.about)
