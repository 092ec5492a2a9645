r"""The second reading of the LEE: only what holds energy decides. Finite forms, with the notation of `sfi_zoo.metrics.lee`.

Sums over features that hold nothing decide the plain mask LEE and predict nothing. Here every term is weighted by w,

    sum ||w P_F (m - m0)||^2 / sum ||w P_F m0||^2,    or of m z and m0 z0 in the place of m and m0.

| name | what is compared | w | question |
|---|---|---|---|
| gated mask LEE | m_F, m_F0 | g_sk h_fk | does the mask change where there is something to mask? |
| energy-weighted predictor LEE | M(A_F z_F0), m_F0 | g_sk abs(z_F0) | what is the predictor's own change worth in the latent? |
| scale-invariant masked-latent LEE | c_s (m z)_F, (m z)_F0 | g_sk | does the change matter where the energy is, but for a level? |
| round-trip LEE | (m z)_T, (m z)_F0 | g_sk | what does the network make of the same signal without its upper band? |

c_s is the gain of source s that makes its error least, Re <m z, m0 z0> / <m z, m z>, as in SI-SDR: published designs change the level of
a latent with F, and undo it in the decoder or not; masks do not.

T = R(F -> F0) R(F0 -> F) is the transformation itself, there and back: z_T = encode(T x, F0), so that encoder and decoder are those of F0
in every mode. For F >= F0 it is the identity, and the LEE is 0.

Gates, of source s, feature f, frame k; `GATE` is -40 dB:

    g_sk = 1 where sum_f |P m0 z0|^2_sfk > GATE max_k' sum_f |P z0|^2_fk'
    h_fk = 1 where |P z0|^2_fk > GATE max_k' mean_f |P z0|^2_fk'

They are relative to the loudest frame: a gain of the input changes none of them, silence before or after it adds nothing to any sum, and a
source that is silent does not count. What is left of level and silence is what they do to the masks of a model; `prepared` takes
that away too.

All are dimensionless, in [0, inf), 0 for a network that does not depend on the sampling frequency; lower is better. Ours: they were
chosen by what they tell of the SDR lost, see docs/study_plan.md.
"""

import torch
from torch import Tensor

from sfi_zoo.errors import InputError
from sfi_zoo.metrics.comparison import GATE, squares
from sfi_zoo.metrics.lee import LEESums
from sfi_zoo.metrics.observation import ALIVE_MARGIN, Observation

LEVEL = 0.1  # root mean square of a prepared signal over its frames that are heard: -20 dB
FRAME_SECONDS = 0.02  # of those frames


def gated_mask_lee(observed: Observation, trained: Observation, margin: float = ALIVE_MARGIN) -> LEESums:
    """Gated mask LEE: does the mask change where there is something to mask? See the head of this file.

    Args:
        observed: latent and masks at F.
        trained: latent and masks of the same signal at F0.
        margin: features count up to this fraction of min(F, F0) / 2.

    Raises:
        InputError: no feature or no frame to compare, or shapes that differ.
    """
    return LEESums(*squares(observed, trained, margin, "masks", "gated"), trained.latent.grid.frequencies)


def energy_mask_lee(observed: Observation, trained: Observation, margin: float = ALIVE_MARGIN) -> LEESums:
    """Energy-weighted mask LEE: sum |z0 (m - m0)|^2 / sum |z0 m0|^2. Of the band-limited latent: the predictor LEE. See the head.

    Args: those of `gated_mask_lee`.

    Raises:
        InputError: as there.
    """
    return LEESums(*squares(observed, trained, margin, "masks", "energy"), trained.latent.grid.frequencies)


def gated_masked_latent_lee(
    observed: Observation, trained: Observation, margin: float = ALIVE_MARGIN
) -> LEESums:
    """Masked-latent LEE over the frames in which a source is heard; of the round trip: the round-trip LEE. See the head.

    Args: those of `gated_mask_lee`.

    Raises:
        InputError: as there.
    """
    return LEESums(*squares(observed, trained, margin, "masked", "gated"), trained.latent.grid.frequencies)


def scale_invariant_masked_latent_lee(
    observed: Observation, trained: Observation, margin: float = ALIVE_MARGIN
) -> LEESums:
    """Masked-latent LEE but for a gain of each source, as SI-SDR has it. See the head of this file.

    Args: those of `gated_mask_lee`.

    Raises:
        InputError: as there.
    """
    return LEESums(*squares(observed, trained, margin, "masked", "scaled"), trained.latent.grid.frequencies)


def prepared(waveform: Tensor, sample_rate: float) -> Tensor:
    """A signal at one level, without silence at its ends: LEEs of what this returns depend on neither, by definition.

        x / rms(x) `LEVEL`, over the frames of 20 ms that are within 40 dB of the loudest one; from the first to the last of these

    Args:
        waveform: (..., channels, time), one signal.
        sample_rate: Hz.

    Returns:
        (..., channels, shorter or equal time).

    Raises:
        InputError: it is silent.
    """
    length = max(1, round(FRAME_SECONDS * sample_rate))
    energy = waveform.double().square().reshape(-1, waveform.shape[-1]).sum(0)
    frames = torch.stack([part.mean() for part in energy.split(length)])
    heard = frames > GATE * frames.max()
    if not bool(heard.any()):
        raise InputError("the signal is silent: there is nothing to measure")
    places = heard.nonzero().flatten()
    first, stop = int(places[0]) * length, (int(places[-1]) + 1) * length
    channels = waveform.numel() // waveform.shape[-1]
    gain = LEVEL / (frames[heard].mean() / channels).sqrt()
    return waveform[..., first:stop] * gain.to(waveform.dtype)
