"""The README.md that a saved or an imported model gets."""

from dataclasses import dataclass
from typing import Any

_HEAD = """---
library_name: sfi-zoo
pipeline_tag: audio-to-audio
license: {license}
tags:
- audio-source-separation
- sampling-frequency-independent
- {architecture}
---

# {name}

{architecture} that separates {sources} at any sampling frequency;
trained at {sample_rate} Hz, {parameters} parameters.

```python
import sfi_zoo

model = sfi_zoo.load("path/to/{name}")
stems = model.separate(waveform, sample_rate)  # (sources, channels, time), at that sample rate
```
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


def model_card(name: str, model: Any, source: Source | None = None) -> str:
    """A minimal model card.

    Args:
        name: title, the name of the folder.
        model: the separator.
        source: where an imported checkpoint came from; without it the card says nothing of a source.
    """
    text = _HEAD.format(
        name=name,
        license="mit" if source is None else source.license,
        architecture=model.architecture,
        sources=", ".join(model.sources),
        sample_rate=model.sample_rate,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
    )
    if source is None:
        return text
    return text + _IMPORTED.format(origin=source.origin, command=source.command, about=source.about)
