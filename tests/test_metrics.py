"""SI-SDR against an independent computation, and the score table. The LEE metrics: `test_lee.py` and the files beside it."""

import numpy as np
import pytest
import torch

import sfi_zoo
from sfi_zoo import InputError
from sfi_zoo.data.songs import SyntheticSongs, channels_of
from sfi_zoo.metrics import Plan, rows_of, score, score_model, si_sdr, synthetic_songs
from tests.tiny_separators import tiny


def test_si_sdr_is_the_formula_and_ignores_scale():
    rng = np.random.default_rng(0)
    s, e = rng.normal(size=(2, 1000))
    a = e @ s / (s @ s)
    expected = 10 * np.log10(np.sum((a * s) ** 2) / np.sum((a * s - e) ** 2))
    estimate, reference = torch.from_numpy(e), torch.from_numpy(s)
    assert float(si_sdr(estimate, reference)) == pytest.approx(expected, rel=1e-12)
    assert float(si_sdr(7 * estimate, reference)) == pytest.approx(expected, rel=1e-12)


def test_scores_of_the_bundled_model():
    """Native is exactly itself at F0, loses little at 16 kHz; unadapted is worst."""
    model = sfi_zoo.load("convtasnet_naf_fd.music4")
    rows = score_model(model, [16000, 32000], synthetic_songs(model.sources, 1, 4.0))
    found = {(row["mode"], row["sample_rate"]): row for row in rows}
    assert found["native", 32000]["mask_lee_db"] == -np.inf
    assert found["native", 16000]["mask_lee_db"] < found["none", 16000]["mask_lee_db"] - 3
    assert found["native", 16000]["si_sdr_lost_db"] < 1 < found["none", 16000]["sdr_lost_db"]
    assert found["native", 32000]["si_sdr_improvement_db"] > 3


def test_a_model_in_memory_is_scored_as_a_zoo_is():
    """On the same data set, on its clips one by one, and by `score`: one table. The model has two of the songs' four sources."""
    model, songs = tiny("openunmix", sources=("vocals", "drums")).eval(), SyntheticSongs(2, 1.0)
    rows = score_model(model, [8000], songs, ["native", "none"])
    clips = [songs.clip(name, model.sources, channels_of(model)) for name in songs.names]
    assert score_model(model, [8000], clips, ["native", "none"]) == rows
    plan = Plan((8000,), ("native",))
    native = rows[0]
    (row,) = (
        r for r in rows_of(score({"tiny": lambda: model}, songs, plan).records) if r["mode"] == "native"
    )
    for key, value in native.items():  # products of another number of estimates are summed in another order
        assert row[key] == (
            pytest.approx(value, rel=1e-6, abs=1e-6) if isinstance(value, float) else value
        ), key


def test_unknown_mode_is_named():
    with pytest.raises(InputError, match="magic"):
        score_model(sfi_zoo.load("convtasnet_naf_fd.music4"), [8000], modes=["magic"])


def test_everything_public_is_there_and_described():
    """Imported on first use or not."""
    from sfi_zoo import metrics

    assert set(metrics.__all__) <= set(dir(metrics)) | set(metrics._HOME)
    for name in metrics.__all__:
        found = getattr(metrics, name)
        assert found.__doc__ or not callable(found), name
    with pytest.raises(AttributeError, match="nothing_of_the_kind"):
        _ = metrics.nothing_of_the_kind
