"""The README.md that a saved or an imported model gets."""

from typing import Any

_HEAD = """---
library_name: sfi-zoo
pipeline_tag: audio-to-audio
license: mit
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

The weights are those of the authors (MIT licence), with parameters renamed and in other units; outputs are
the same to float32 precision. The authors feed each channel alone, divided by its standard deviation, and
rescale the estimates by least squares onto the mixture; this model gives the plain output of the network.

Paper: K. Saito, T. Nakamura, K. Yatabe, H. Saruwatari, "Sampling-frequency-independent convolutional layer
and its application to audio source separation", IEEE/ACM Transactions on Audio, Speech, and Language
Processing, vol. 30, pp. 2928-2943, 2022.
Code: https://github.com/TomohikoNakamura/sfi_convtasnet (MIT)
"""


def model_card(name: str, model: Any, origin: str | None = None, command: str | None = None) -> str:
    """A minimal model card.

    Args:
        name: title, the name of the folder.
        model: the separator.
        origin: where an imported checkpoint came from; without it the card says nothing of a source.
        command: what imported it.
    """
    text = _HEAD.format(
        name=name,
        architecture=model.architecture,
        sources=", ".join(model.sources),
        sample_rate=model.sample_rate,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
    )
    return text if origin is None else text + _IMPORTED.format(origin=origin, command=command)
