"""The study against numpy and scipy, on records whose correlations are known."""

import numpy as np
import pytest

from sfi_zoo import InputError
from sfi_zoo.metrics.reporting.jackknife import interval, left_out, student
from sfi_zoo.metrics.reporting.study import correlation, plot_study, ranks, study
from sfi_zoo.metrics.scoring.points import points_of
from sfi_zoo.metrics.scoring.rows import rows_of

stats = pytest.importorskip("scipy.stats")

RATES = (8000.0, 16000.0, 24000.0, 48000.0)
MODES = ("native", "resample", "none")


def record(model, mode, rate, track, lee_db, lost, improvement=5.0):
    """Two sources: the LEE and the SDR lost are those of both together."""
    lee = 10 ** (lee_db / 10)
    sums = {"error": [lee, lee], "reference": [1.0, 1.0]}
    estimate = [improvement - 1, improvement + 1]
    ratios = {
        "estimate": estimate,
        "mixture": [0.0, 0.0],
        "trained": [x + lost for x in estimate],
        "at_trained": [x + lost + 1 for x in estimate],
    }
    return {
        "model": model,
        "track": track,
        "mode": mode,
        "sample_rate": rate,
        "trained_rate": 32000,
        "sources": ["a", "b"],
        "lee": dict.fromkeys(("mask", "predictor", "masked_latent"), sums),
        "si_sdr": ratios,
        "sdr": ratios,
    }


def records(models=3, tracks=4, lost=lambda lee, rate, noise: 0.3 * lee + noise, seed=0, track_noise=0.0):
    """LEE in dB between -30 and 0, anew for every point, and what is lost from it."""
    rng = np.random.default_rng(seed)
    made = []
    for m in range(models):
        for mode in MODES:
            for rate in RATES:
                lee, noise = rng.uniform(-30, 0), rng.normal()
                made += [
                    record(
                        f"m{m}", mode, rate, f"t{t}", lee, lost(lee, rate, noise) + track_noise * rng.normal()
                    )
                    for t in range(tracks)
                ]
    return made


def as_arrays(made):
    """One point after the other, their LEE, what is lost, octaves removed."""
    firsts = [r for r in made if r["track"] == "t0"]
    lee = [10 * np.log10(r["lee"]["mask"]["error"][0]) for r in firsts]
    lost = [r["si_sdr"]["trained"][0] - r["si_sdr"]["estimate"][0] for r in firsts]
    octaves = [np.log2(min(r["sample_rate"], 32000) / 32000) for r in firsts]
    return np.array(lee), np.array(lost), np.array(octaves)


def row_of(made, group="all", metric="mask", cost="si_sdr_lost", scale="dB", **options):
    found = study(made, **options)
    wanted = (group, metric, scale, cost)
    return next(r for r in found if (r["group"], r["metric"], r["scale"], r["cost"]) == wanted)


def test_pearson_and_spearman_are_those_of_scipy():
    made = records()
    lee, lost, _ = as_arrays(made)
    row = row_of(made)
    assert row["pearson"]["value"] == pytest.approx(stats.pearsonr(lee, lost).statistic)
    assert row["spearman"]["value"] == pytest.approx(stats.spearmanr(lee, lost).statistic)
    linear = row_of(made, scale="linear")
    assert linear["pearson"]["value"] == pytest.approx(stats.pearsonr(10 ** (lee / 10), lost).statistic)
    assert linear["spearman"]["value"] == pytest.approx(row["spearman"]["value"])
    assert (row["points"], row["models"], row["tracks"]) == (36, 3, 4)


def test_partial_correlation_is_that_of_the_residuals():
    """Of what least squares on the bandwidth leaves of both."""
    made = records(lost=lambda lee, rate, noise: 0.1 * lee - 5 * np.log2(rate) + noise)
    lee, lost, octaves = as_arrays(made)
    for name, of in (("pearson", np.asarray), ("spearman", stats.rankdata)):
        x, y, c = of(lee), of(lost), of(octaves)
        design = np.stack([np.ones_like(c), c], 1)
        residuals = [v - design @ np.linalg.lstsq(design, v, rcond=None)[0] for v in (x, y)]
        expected = np.corrcoef(*residuals)[0, 1]
        assert row_of(made)[f"partial_{name}"]["value"] == pytest.approx(expected)


def test_bandwidth_alone_leaves_no_partial_correlation():
    """LEE and loss that both follow the bandwidth, and nothing else: r is high, given the bandwidth it is nothing."""
    rng = np.random.default_rng(0)
    made = [
        record(f"m{m}", mode, rate, "t0", -3 * octaves + rng.normal(), -2 * octaves + rng.normal())
        for m in range(40)
        for mode in MODES
        for rate in (1000.0, 2000.0, 8000.0, 48000.0)
        for octaves in [np.log2(min(rate, 32000) / 32000)]
    ]
    row = row_of(made)
    assert row["pearson"]["value"] > 0.9 and abs(row["partial_pearson"]["value"]) < 0.1


def test_within_models_what_models_differ_by_does_not_count():
    """Each model's loss falls with its LEE, but models with a higher LEE lose more."""
    made = []
    for m, level in enumerate((-40, -20, 0)):
        for k, mode in enumerate(MODES):
            for n, rate in enumerate(RATES):
                step = k + 3 * n
                made.append(record(f"m{m}", mode, rate, "t0", level + 0.5 * step, level - 0.5 * step))
    assert row_of(made)["pearson"]["value"] > 0.8
    assert row_of(made, "within models")["pearson"]["value"] == pytest.approx(-1)
    assert row_of(made, "within models")["spearman"]["value"] == pytest.approx(-1)
    assert row_of(made, "model m1")["pearson"]["value"] == pytest.approx(-1)


def test_groups_are_the_modes_too():
    made = records()
    lee, lost, _ = as_arrays([r for r in made if r["mode"] == "none"])
    assert row_of(made, "mode none")["pearson"]["value"] == pytest.approx(stats.pearsonr(lee, lost).statistic)


def test_fixed_masks_and_f0_are_left_out():
    made = records()
    extra = [
        record("m0", "fixed_masks", 8000.0, "t0", -200, 50),
        record("m0", "native", 32000.0, "t0", -200, 50),
    ]
    assert row_of(made + extra) == row_of(made)


def test_a_lee_below_the_floor_is_the_floor():
    made = records(models=1, tracks=1)
    low = [record("m0", "native", 12000.0, "t0", -150, 0.0)]
    lee, lost, _ = as_arrays(made + low)
    expected = stats.pearsonr(np.maximum(lee, -40), lost).statistic
    assert row_of(made + low, floor_db=-40)["pearson"]["value"] == pytest.approx(expected)


def test_sums_over_tracks_come_before_the_division():
    """A loud track counts for more."""
    made = records(models=1, tracks=2)
    for r in made:
        if r["track"] == "t1":
            r["lee"] = {"mask": {"error": [50.0, 50.0], "reference": [100.0, 100.0]}}
        else:
            r["lee"] = {"mask": r["lee"]["mask"]}
    lee, lost, _ = as_arrays(made)
    expected = stats.pearsonr(10 * np.log10((10 ** (lee / 10) + 50) / 101), lost).statistic
    assert row_of(made)["pearson"]["value"] == pytest.approx(expected)


def test_a_point_of_weight_n_is_n_points():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 8)).round(1)
    weights = rng.integers(0, 4, 8)
    repeated = [np.repeat(v, weights) for v in (x, y)]
    found = correlation(x[None], y[None], weights[None])[0]
    assert found == pytest.approx(stats.pearsonr(*repeated).statistic)
    expected = dict(zip(np.repeat(np.arange(8), weights), stats.rankdata(repeated[0]), strict=True))
    given = ranks(x[None], weights[None].astype(float))[0]
    assert {n: given[n] for n in expected} == pytest.approx(expected)


@pytest.mark.parametrize("families", [None, {"m0": "shared", "m1": "shared"}])
def test_the_interval_is_that_of_a_plain_jackknife(families):
    """By a loop with scipy: each family and each track left out, on Fisher's z."""
    made = records(models=5, tracks=4, track_noise=2.0)
    row = row_of(made, families=families)
    names = sorted({(families or {}).get(f"m{m}", f"m{m}") for m in range(5)})
    _, lost, _ = as_arrays(made)
    lee = as_arrays(made)[0]
    lost = np.array([r["si_sdr"]["trained"][0] - r["si_sdr"]["estimate"][0] for r in made]).reshape(-1, 4)
    owner = np.array([(families or {}).get(r["model"], r["model"]) for r in made[::4]])

    def z(rows, tracks):
        return np.arctanh(stats.pearsonr(lee[rows], lost[rows][:, tracks].mean(1)).statistic)

    whole = z(owner != "", [0, 1, 2, 3])
    without = [z(owner != name, [0, 1, 2, 3]) for name in names]
    v = [(len(names) - 1) / len(names) * (x - whole) ** 2 for x in without]
    v += [3 / 4 * (z(owner != "", [t for t in range(4) if t != left]) - whole) ** 2 for left in range(4)]
    reach = stats.t.ppf(0.975, np.sum(v) ** 2 / np.sum(np.square(v))) * np.sqrt(np.sum(v))
    found = row["pearson"]
    assert [found["low"], found["high"]] == pytest.approx(np.tanh([whole - reach, whole + reach]), abs=1e-6)
    assert row["families"] == len(names)


def like_ours(rng, families, tracks, noise=0.5):
    """LEE and loss of rows, (points, tracks) twice, and the family of each point.

    Families differ in how much they break, far more than rows of one family, which share weights; both fall with the bandwidth at four
    rates; families lose more or less than their LEE tells; tracks differ in size, and points from track to track.
    """
    x, y, family = [], [], []
    level, own = rng.gamma(1.2, 1.0, families), noise * 0.6 * rng.normal(size=families)
    for g in range(families):
        for _ in range((1, 1, 1, 3, 2, 1, 2, 1)[g % 8]):
            row = rng.normal(scale=0.15)
            for band in (1, 1 / 2, 1 / 3, 1 / 4):
                x.append(level[g] * band * np.exp(row + rng.normal(scale=0.2)))
                y.append(x[-1] + own[g] * band + 0.5 * noise * band * rng.normal())
                family.append(g)
    x, y = np.array(x)[:, None], np.array(y)[:, None]
    size, shape = np.exp(rng.normal(scale=0.4, size=tracks)), (len(x), tracks)
    return (
        x * size * np.exp(rng.normal(scale=0.3, size=shape)),
        y * size + rng.normal(scale=0.3, size=shape),
        np.array(family),
    )


def r_of(x, y, weights, tracks):
    x, y = ((tracks @ v.T) / tracks.sum(1, keepdims=True) for v in (x, y))
    return correlation(x, y, weights)


@pytest.mark.parametrize(("families", "noise"), [(16, 0.3), (16, 0.8), (9, 0.5)])
def test_the_interval_covers(families, noise):
    """0.92 to 0.98 of the 95 % intervals hold the r of very many families of this kind; a bootstrap over rows holds it less often."""
    rng, tracks, trials = np.random.default_rng(0), 10, 600
    many = [like_ours(rng, 400, tracks, noise) for _ in range(60)]
    truth = np.tanh(
        np.mean([np.arctanh(r_of(x, y, np.ones((1, len(x))), np.ones((1, tracks)))) for x, y, _ in many])
    )
    held = 0
    for _ in range(trials):
        x, y, family = like_ours(rng, families, tracks, noise)
        of_tracks, of_points = left_out(family, tracks)
        found = interval(r_of(x, y, of_points, of_tracks), families, tracks)
        held += found["low"] <= truth <= found["high"]
    assert 0.92 <= held / trials <= 0.98


@pytest.mark.parametrize("df", [1, 1.5, 3.7, 12, 60])
def test_students_quantile_is_that_of_scipy(df):
    assert student(df) == pytest.approx(stats.t.ppf(0.975, df), rel=1e-5)


def test_one_family_and_one_track_have_no_interval():
    found = row_of(records(models=1, tracks=1))["pearson"]
    assert found["value"] is not None and found["low"] is None


@pytest.mark.parametrize("cost", ["si_sdr_lost_median", "si_sdr_lost_separated"])
def test_costs_are_those_of_numpy(cost):
    """The median over tracks per source, then the mean over sources; and the mean over pairs above 0 dB at F0."""
    rng = np.random.default_rng(1)
    made = records(models=2, tracks=5)
    values: dict[tuple, list] = {}
    for r in made:
        lost, at_trained = rng.normal(size=2), rng.normal(size=2)
        if rng.uniform() < 0.2:
            lost[0] = np.nan
        there = [None if np.isnan(x) else float(x) for x in lost]
        r["si_sdr"] = {
            "estimate": [0.0, 0.0],
            "mixture": [0.0, 0.0],
            "trained": there,
            "at_trained": at_trained.tolist(),
        }
        values.setdefault((r["model"], r["mode"], r["sample_rate"]), []).append((lost, at_trained))
    points = points_of(made)
    found = points.cost_db(cost, np.ones((1, 5)))[0]
    rows = {(row["model"], row["mode"], row["sample_rate"]): row[f"{cost}_db"] for row in rows_of(made)}
    for place, lost in zip(zip(points.models, points.modes, points.rates, strict=True), found, strict=True):
        own, at_trained = (np.array(x) for x in zip(*values[place], strict=True))
        expected = np.nanmean(np.nanmedian(own, 0)) if "median" in cost else np.nanmean(own[at_trained > 0])
        assert lost == pytest.approx(expected) and rows[place] == pytest.approx(expected)


def test_it_is_the_same_every_time():
    made = records()
    assert study(made) == study(made[::-1])


def test_without_a_bandwidth_to_remove_there_is_no_partial_correlation():
    made = [
        record("m0", mode, rate, "t0", -rate / 5000, n)
        for n, mode in enumerate(MODES)
        for rate in (44100.0, 48000.0)
    ]
    row = row_of(made)
    assert row["pearson"]["value"] is not None and row["partial_pearson"]["value"] is None


def test_a_lee_that_is_the_same_within_each_model_correlates_with_nothing():
    made = [
        record(f"m{m}", mode, rate, "t0", -10.1 - m, rate / 7e3 + n)
        for m in range(3)
        for n, mode in enumerate(MODES)
        for rate in RATES
    ]
    row = row_of(made, "within models")
    assert [row[name]["value"] for name in ("pearson", "spearman", "partial_pearson")] == [None] * 3


def test_too_few_points_and_failed_ones():
    made = records(models=1, tracks=1)
    for r in made[2:]:
        r["failed"] = "NaN"
    with pytest.raises(InputError, match="2 points"):
        study(made)


def test_scatter_plot_has_a_point_for_each():
    pytest.importorskip("matplotlib")
    made = records()
    figure = plot_study(made)
    axis = figure.axes[0]
    shown = np.concatenate([line.get_xydata() for line in axis.lines])
    lee, lost, _ = as_arrays(made)
    np.testing.assert_allclose(np.sort(shown[:, 0]), np.sort(lee))
    np.testing.assert_allclose(np.sort(shown[:, 1]), np.sort(lost))
    with pytest.raises(InputError, match="bss_sdr_lost"):
        plot_study(made, "bss_sdr_lost")
