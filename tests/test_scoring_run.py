"""Scoring runs: the records, and what befalls them: kills, many processes, other settings, broken songs and models."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import soundfile
import torch

from sfi_zoo import InputError, cli
from sfi_zoo.data.songs import SyntheticSongs
from sfi_zoo.metrics import LEESums, controls, mask_lee, masked_latent_lee, observe, predictor_lee, si_sdr
from sfi_zoo.metrics.registry import METRICS
from sfi_zoo.metrics.scoring.records import RecordWriter, claim, read_records
from sfi_zoo.metrics.scoring.rows import rows_of
from sfi_zoo.metrics.scoring.run import Loaded, Plan, score, share
from sfi_zoo.metrics.scoring.signals import SharedSignals
from sfi_zoo.metrics.scoring.unit import Measures, place
from tests.small_models import small_tasnet

STEMS = ("vocals", "drums", "bass")
RATES = (6000, 8000, 11025)
SONGS = SyntheticSongs(2, 1.0)


def tasnet(**settings):
    return small_tasnet("relu", sources=STEMS, **settings)


class Broken(torch.nn.Module):
    """Predicts a NaN at rates below F0."""

    def __init__(self):
        super().__init__()
        self.model = tasnet()
        predict = self.model.predict_masks
        self.model.predict_masks = lambda latent: predict(latent) + (0 if latent.grid.alive.all() else np.nan)


def run(model=None, songs=SONGS, folder=None, **settings):
    plan = Plan(**{"sample_rates": RATES, "controls": True} | settings)
    return score({"small": lambda: model or tasnet()}, songs, plan, folder)


@pytest.fixture(scope="module")
def outcome():
    return run()


# the records ----------------------------------------------------------------------------------------------------


def test_there_is_one_record_of_every_unit(outcome):
    found = {(r["track"], r["mode"], r["sample_rate"]) for r in outcome.records}
    modes = ("native", "resample", "none", "fixed_masks", "ratio_masks")
    assert found == {(f"synthetic {n}", mode, rate) for n in range(2) for mode in modes for rate in RATES}
    assert len(outcome.records) == len(found) and outcome.complete and not outcome.left_out


@pytest.mark.parametrize("asked", [False, True])
def test_controls_are_measured_when_they_are_asked_for(asked):
    modes = {r["mode"] for r in run(modes=("resample",), sample_rates=(6000,), controls=asked).records}
    assert modes == {"resample"} | ({"fixed_masks", "ratio_masks", "none"} if asked else set())


@pytest.mark.parametrize("mode", ["native", "fixed_masks"])
def test_lee_are_sums_over_tracks_before_the_division(outcome, mode):
    """Each computed alone, from the functions of `sfi_zoo.metrics.lee`."""
    model = tasnet()
    model = controls(model)["fixed_masks"] if mode == "fixed_masks" else model
    totals = {}
    for name in SONGS.names:
        at = SONGS.clip(name, STEMS, 1).at
        seen, trained = (observe(model, at(rate)[0][None].double(), rate) for rate in (6000.0, 8000.0))
        found = {
            "mask": mask_lee(seen, trained),
            "predictor": predictor_lee(model.predict_masks, trained, 6000.0),
            "masked_latent": masked_latent_lee(seen, trained),
        }
        totals = {key: totals[key] + x if totals else x for key, x in found.items()}
    row = next(r for r in rows_of(outcome.records) if (r["mode"], r["sample_rate"]) == (mode, 6000))
    for name, total in totals.items():
        assert row[f"{name}_lee"] == pytest.approx(total.value(), rel=1e-9, abs=1e-25)


def test_quality_is_that_of_the_separated_songs(outcome):
    """By numpy, from `model(...)` and `Adapted(model, mode)(...)`."""
    from sfi_zoo.metrics import Adapted

    model = tasnet()
    mixture, references = SONGS.clip("synthetic 1", STEMS, 1).at(6000.0)
    for mode in ("native", "resample", "none"):
        record = next(
            r
            for r in outcome.records
            if (r["track"], r["mode"], r["sample_rate"]) == ("synthetic 1", mode, 6000)
        )
        with torch.no_grad():
            estimates = Adapted(model, mode)(mixture[None].double(), 6000.0)[0, :, 0].numpy()
        s = references[:, 0].double().numpy()
        a = (estimates * s).sum(1, keepdims=True) / (s * s).sum(1, keepdims=True)
        si_sdr = 10 * np.log10(((a * s) ** 2).sum(1) / ((a * s - estimates) ** 2).sum(1))
        sdr = 10 * np.log10((s**2).sum(1) / ((s - estimates) ** 2).sum(1))
        np.testing.assert_allclose(record["si_sdr"]["estimate"], si_sdr, atol=1e-6)
        np.testing.assert_allclose(record["sdr"]["estimate"], sdr, atol=1e-6)


def test_the_two_losses_are_differences_of_what_a_record_holds(outcome):
    row = next(r for r in rows_of(outcome.records) if (r["mode"], r["sample_rate"]) == ("none", 6000))
    records = [r for r in outcome.records if (r["mode"], r["sample_rate"]) == ("none", 6000)]
    of = lambda name: np.array([r["si_sdr"][name] for r in records])  # noqa: E731
    assert row["si_sdr_lost_db"] == pytest.approx((of("trained") - of("estimate")).mean())
    assert row["si_sdr_drop_db"] == pytest.approx((of("at_trained") - of("estimate")).mean())
    assert row["si_sdr_improvement_db"] == pytest.approx((of("estimate") - of("mixture")).mean())


def test_nothing_is_lost_at_the_trained_rate(outcome):
    for row in rows_of(outcome.records):
        if row["sample_rate"] == 8000:
            assert (row["mask_lee"], row["masked_latent_lee"], row["si_sdr_drop_db"]) == (0, 0, 0)


def test_fixed_masks_are_at_the_floor_and_lose_nothing_of_its_masks(outcome):
    for row in rows_of(outcome.records):
        if row["mode"] == "fixed_masks":
            assert row["mask_lee_db"] <= -100 and row["predictor_lee_db"] <= -100


@pytest.mark.parametrize("resampler", ["windowed_sinc", "noisy_kernel"])
def test_resampling_is_scored_with_the_resampler_that_is_named(resampler):
    from sfi_zoo.metrics import Adapted

    mode, model = f"resample:{resampler}", tasnet()
    records = run(model, songs=SyntheticSongs(1, 0.5), sample_rates=(6000,), modes=(mode, "resample")).records
    controls = ["none", "fixed_masks", "ratio_masks"]
    assert sorted({r["mode"] for r in records}, key=place) == ["resample", mode, *controls]
    mixture, references = SyntheticSongs(1, 0.5).clip("synthetic 0", STEMS, 1).at(6000.0)
    with torch.no_grad():
        estimates = Adapted(model, "resample", resampler)(mixture[None].double(), 6000.0)[0, :, 0]
    expected = si_sdr(estimates, references[:, 0].double()).tolist()
    assert next(r for r in records if r["mode"] == mode)["si_sdr"]["estimate"] == pytest.approx(expected)


def test_a_silent_reference_has_no_ratio():
    class Silent(SyntheticSongs):
        def clip(self, name, sources, channels):
            clip = super().clip(name, sources, channels)
            silence = torch.tensor([1.0, 0.0, 1.0])[:, None, None]
            return type(clip)(name, lambda rate: (clip.at(rate)[0], clip.at(rate)[1] * silence))

    records = run(songs=Silent(1, 0.5), sample_rates=(6000,)).records
    assert all(r["si_sdr"]["estimate"][1] is None for r in records)
    assert np.isfinite([row["si_sdr_db"] for row in rows_of(records)]).all()


def test_local_lee_are_those_of_their_functions():
    from sfi_zoo.metrics import local_mask_lee, motion

    records = run(songs=SyntheticSongs(1, 0.5), sample_rates=(6000,), measures=Measures(local=True)).records
    found = next(r["lee"] for r in records if r["mode"] == "native")
    mixture, _ = SyntheticSongs(1, 0.5).clip("synthetic 0", STEMS, 1).at(6000.0)
    expected = local_mask_lee(motion(tasnet(), mixture[None].double(), 6000.0, 6000.0)).value()
    assert sum(found["local_mask"]["error"]) / sum(found["local_mask"]["reference"]) == pytest.approx(
        expected
    )
    assert {"local_predictor", "local_masked_latent"} <= set(found)


def test_layers_add_up_to_the_local_mask_lee_and_are_reported():
    pytest.importorskip("matplotlib")
    from sfi_zoo.metrics.reporting.report import as_markdown, sections

    songs = SyntheticSongs(1, 0.5)
    records = run(songs=songs, sample_rates=(6000,), measures=Measures(layers=True)).records
    for record in (r for r in records if r["mode"] in ("native", "none")):
        found, whole = record["layers"], record["lee"]["local_mask"]
        assert sum(found["contribution"].values()) == pytest.approx(sum(whole["error"]), rel=1e-6)
        assert found["reference"] == pytest.approx(sum(whole["reference"]))
    assert "| small | native | 6000 | encoder |" in as_markdown("", sections(records, 0))


# what is shared -------------------------------------------------------------------------------------------------


class Counted(SyntheticSongs):
    """Tells which track was rendered at which rate."""

    def __init__(self, *settings):
        super().__init__(*settings)
        self.rendered = []

    def clip(self, name, sources, channels):
        clip = super().clip(name, sources, channels)
        return type(clip)(name, lambda rate: self.rendered.append((name, rate)) or clip.at(rate))


def zoo(*names):
    return {name: tasnet for name in names}


def test_a_track_is_rendered_once_at_each_rate_for_all_models():
    songs = Counted(2, 0.5)
    score(zoo("a", "b", "c"), songs, Plan(RATES, controls=True))
    assert sorted(songs.rendered) == sorted((name, rate) for name in songs.names for rate in RATES)


def test_what_is_shared_does_not_change_a_record(outcome):
    both = score(zoo("other", "small"), SONGS, Plan(RATES, controls=True)).records
    assert [r for r in both if r["model"] == "small"] == outcome.records


def test_signals_are_kept_while_there_is_room():
    songs, model = Counted(1, 0.5), tasnet()
    clip, kept = songs.clip("synthetic 0", STEMS, 1), SharedSignals(room=4 * 3000 * 8)
    for rate in (6000, 8000, 6000, 8000):  # half a second of four signals at 6 kHz fills it
        kept.at(clip, model, rate)
    assert [rate for _, rate in songs.rendered] == [6000, 8000, 8000]


def test_models_are_loaded_once_while_there_is_room():
    loads = []
    models = {name: lambda name=name: loads.append(name) or tasnet() for name in "ab"}
    size = sum(x.numel() * x.element_size() for x in tasnet().state_dict().values())
    loaded = Loaded(models, room=size)
    for name in "abab":
        assert not loaded[name].training
    assert loads == ["a", "b", "b"]


@pytest.mark.parametrize(("count", "world_size"), [(3, 2), (7, 3), (1, 4), (12, 12)])
def test_shares_are_even_and_miss_nothing(count, world_size):
    shares = [range(count)[share(count, rank, world_size)] for rank in range(world_size)]
    assert [x for own in shares for x in own] == list(range(count))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


# kills, processes -----------------------------------------------------------------------------------------------

OPTIONS = ("--sample-rates", "6000,8000,11025,16000", "--tracks", "3", "--seconds", "1")


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "small"
    tasnet().float().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def uninterrupted(model_folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("results") / "whole"
    assert cli.main(["score", str(model_folder), *OPTIONS, "-o", str(out)]) == 0
    return out


def start(model_folder, out, **environment):
    command = [sys.executable, "-m", "sfi_zoo.cli", "score", str(model_folder), *OPTIONS, "-o", str(out)]
    return subprocess.Popen(command, env=os.environ | environment, stdout=subprocess.DEVNULL)


def test_a_killed_run_goes_on_where_it_was(model_folder, uninterrupted, tmp_path):
    killed = start(model_folder, tmp_path)
    path, begin = tmp_path / "records-0.jsonl", time.monotonic()
    while not (path.exists() and path.stat().st_size) and time.monotonic() < begin + 600:
        time.sleep(0.002)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    before = path.read_bytes()
    assert 0 < before.count(b"\n") < 36
    assert cli.main(["score", str(model_folder), *OPTIONS, "-o", str(tmp_path)]) == 0
    assert path.read_bytes() == (uninterrupted / "records-0.jsonl").read_bytes()


def test_two_processes_measure_what_one_does(model_folder, uninterrupted, tmp_path):
    both = [start(model_folder, tmp_path, RANK=str(rank), WORLD_SIZE="2") for rank in (0, 1)]
    assert [process.wait(120) for process in both] == [0, 0]
    counts = [len(path.read_text().splitlines()) for path in sorted(tmp_path.glob("records-*.jsonl"))]
    assert counts == [24, 12]  # two tracks, and one, of 3 modes x 4 rates
    assert read_records(tmp_path) == read_records(uninterrupted)


@pytest.mark.slow
def test_accelerate_launch_shares_the_work(model_folder, uninterrupted, tmp_path):
    pytest.importorskip("accelerate")
    launch = [
        sys.executable,
        "-m",
        "accelerate.commands.launch",
        "--multi_gpu",
        "--num_processes",
        "2",
    ]
    command = [*launch, "-m", "sfi_zoo.cli", "score", str(model_folder), *OPTIONS, "-o", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.glob("records-*.jsonl"))) == 2
    assert read_records(tmp_path) == read_records(uninterrupted)


def test_one_process_where_several_were_asked_for_is_told(model_folder, monkeypatch, capsys):
    left = {
        "ACCELERATE_MIXED_PRECISION": "no",
        "MASTER_ADDR": "127.0.0.1",
    }  # by accelerate launch without --multi_gpu, on a CPU
    for name, value in left.items():
        monkeypatch.setenv(name, value)
    assert cli.main(["score", str(model_folder), *OPTIONS]) != 0
    assert "--multi_gpu" in capsys.readouterr().err


def test_a_torn_line_is_dropped_and_measured_again(uninterrupted, model_folder, tmp_path):
    whole = (uninterrupted / "records-0.jsonl").read_bytes()
    (tmp_path / "manifest.json").write_bytes((uninterrupted / "manifest.json").read_bytes())
    lines = whole.splitlines(keepends=True)
    (tmp_path / "records-0.jsonl").write_bytes(b"".join(lines[:5]) + lines[5][:100])
    assert len(read_records(tmp_path)) == 5
    assert cli.main(["score", str(model_folder), *OPTIONS, "-o", str(tmp_path)]) == 0
    assert (tmp_path / "records-0.jsonl").read_bytes() == whole


@pytest.mark.parametrize("length", [0, 1, 2**16 - 1, 2**16, 2**16 + 1, 2**18])
def test_a_torn_line_of_any_length_is_cut_off(length, tmp_path):
    path = tmp_path / "records-0.jsonl"
    path.write_bytes(b"{}\n" + b"x" * length)
    RecordWriter(tmp_path, 0).__exit__(None, None, None)
    assert path.read_bytes() == b"{}\n"


def test_a_first_line_that_is_torn_is_cut_off(tmp_path):
    path = tmp_path / "records-0.jsonl"
    path.write_bytes(b"x" * 70000)
    RecordWriter(tmp_path, 0).__exit__(None, None, None)
    assert path.read_bytes() == b""


def test_a_unit_that_two_files_hold_counts_once(uninterrupted, tmp_path):
    for rank in (0, 1):
        (tmp_path / f"records-{rank}.jsonl").write_bytes((uninterrupted / "records-0.jsonl").read_bytes())
    (tmp_path / "manifest.json").touch()
    assert len(read_records(tmp_path)) == 36


def test_two_runs_at_once_are_refused(tmp_path):
    with RecordWriter(tmp_path, 0), pytest.raises(InputError, match="another run is writing it"):
        RecordWriter(tmp_path, 0)


# bad input ------------------------------------------------------------------------------------------------------


def test_other_settings_are_refused_and_shown(tmp_path):
    settings = {"sfi_zoo": "", "torch": "", "measures": {}, "models": {}, "data": {"path": "a"}}
    claim(tmp_path, settings | {"rates": [1, 2]})
    claim(tmp_path, settings | {"rates": (1, 2)})
    with pytest.raises(InputError, match=r"made with other settings \(data.path a there, b now\)"):
        claim(tmp_path, settings | {"rates": [1, 2], "data": {"path": "b"}})


def test_other_weights_are_other_settings(tmp_path):
    run(folder=tmp_path, sample_rates=(6000,))
    torch.manual_seed(1)
    other = tasnet()
    with torch.no_grad():
        next(other.parameters()).add_(1e-3)
    with pytest.raises(InputError, match=r"models.small .* there"):
        run(other, folder=tmp_path, sample_rates=(6000,))


class Own(torch.nn.Module):
    """A class of one's own, with no settings: what `Separator` asks for, of another separator."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def __getattr__(self, name):
        if name in ("inner", "config", "config_dict"):
            return super().__getattr__(name)
        return getattr(self.__dict__.get("hidden") or super().__getattr__("inner"), name)


def test_a_model_of_ones_own_needs_no_settings_and_is_known_by_its_weights(tmp_path):
    model = Own(tasnet())
    plan, songs = Plan((6000,), modes=("native",)), SyntheticSongs(1, 0.3)
    assert score({"own": lambda: model}, songs, plan, tmp_path / "results").complete
    with torch.no_grad():
        next(model.parameters()).add_(1)
    with pytest.raises(InputError, match="other settings"):
        score({"own": lambda: model}, songs, plan, tmp_path / "results")


def test_a_model_that_hides_its_weights_is_told_how_to_show_them(tmp_path):
    model = Own(torch.nn.Identity())
    model.__dict__["hidden"] = tasnet()
    with pytest.raises(InputError, match=r"self\.network = network"):
        score({"own": lambda: model}, SyntheticSongs(1, 0.3), Plan((6000,)), tmp_path / "results")


def test_a_damaged_line_is_named(tmp_path):
    (tmp_path / "manifest.json").touch()
    (tmp_path / "records-3.jsonl").write_text("{}\n")
    with pytest.raises(InputError, match=r"records-3.jsonl: line 1 is damaged"):
        read_records(tmp_path)


def test_a_model_that_emits_nan_has_failed_and_no_score():
    outcome = run(Broken().model, sample_rates=(6000, 16000))
    native = {
        r["sample_rate"]: r for r in outcome.records if r["mode"] == "native" and r["track"] == "synthetic 0"
    }
    assert "not finite" in native[6000]["failed"] and "si_sdr" not in native[6000]
    assert "failed" not in native[16000]
    assert any("synthetic 0, native, 6000 Hz" in problem for problem in outcome.left_out)
    row = next(r for r in rows_of(outcome.records) if (r["mode"], r["sample_rate"]) == ("native", 6000))
    assert (row["tracks"], row["failed"]) == (0, 2) and np.isnan(row["si_sdr_db"])


def test_a_metric_of_ones_own_that_is_nan_has_failed_and_no_score(monkeypatch):
    def nowhere(observed, trained, margin):
        sums = mask_lee(observed, trained, margin)
        return LEESums(sums.error / 0, sums.reference, sums.frequencies)

    monkeypatch.setitem(METRICS, "nowhere", nowhere)
    outcome = run(sample_rates=(6000,))
    assert {r["failed"] for r in outcome.records} == {"the sums of the nowhere LEE are not finite"}


def test_a_rate_without_a_feature_has_failed():
    high = tasnet(encoder_filters={"frequency_range": (2500.0, 3500.0)})
    outcome = run(high, sample_rates=(4000, 8000))
    failed = {r["mode"]: r.get("failed") for r in outcome.records if r["sample_rate"] == 4000}
    assert "leaves no filter alive" in failed["native"]
    assert "no feature is alive below 1800 Hz" in failed["resample"]
    assert all("failed" not in r for r in outcome.records if r["sample_rate"] == 8000)


def test_a_broken_song_is_left_out_and_the_rest_is_scored(model_folder, tmp_path, capsys):
    rng = np.random.default_rng(0)
    for track in ("broken", "good"):
        (tmp_path / "test" / track).mkdir(parents=True)
        for stem in STEMS:
            soundfile.write(tmp_path / "test" / track / f"{stem}.flac", 0.1 * rng.normal(size=8000), 8000)
    damaged = tmp_path / "test" / "broken" / "drums.flac"
    damaged.write_bytes(damaged.read_bytes()[:9000])
    command = ["score", str(model_folder), "--data", str(tmp_path), "--sample-rates", "6000", "--json"]
    assert cli.main(command) == 1
    printed = capsys.readouterr()
    assert {row["tracks"] for row in json.loads(printed.out)} == {1}
    assert str(damaged) in printed.err


def test_an_empty_data_set_is_a_mistake(model_folder, tmp_path, capsys):
    assert cli.main(["score", str(model_folder), "--data", str(tmp_path)]) == 2
    assert "has no tracks" in capsys.readouterr().err


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")  # noqa: PTH110
def test_a_full_disk_is_told(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "records-0.jsonl").symlink_to("/dev/full")
    claimed = tmp_path / "out"
    with RecordWriter(claimed, 0) as writer, pytest.raises(InputError, match=r"No space left.*run it again"):
        writer.append({"model": "a"})


def test_many_processes_need_a_folder(model_folder, monkeypatch, capsys):
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert cli.main(["score", str(model_folder), "--sample-rates", "6000"]) == 2
    assert "-o" in capsys.readouterr().err


@pytest.mark.parametrize(
    "settings",
    [
        {"modes": ("magic",)},
        {"modes": ("native:soxr",)},
        {"modes": ("resample:magic",)},
        {"sample_rates": ()},
        {"threads": 0},
    ],
    ids=["mode", "native by a resampler", "resampler", "rates", "threads"],
)
def test_plans_that_cannot_be(settings):
    with pytest.raises(InputError):
        Plan(**{"sample_rates": (8000,)} | settings)


def test_models_join_a_results_folder(tmp_path):
    plan = Plan((8000,), ("native",), Measures(False, False, False), 1)
    one = score({"one": tasnet}, SONGS, plan, tmp_path)
    both = score({"two": lambda: tasnet(hidden=12)}, SONGS, plan, tmp_path)
    assert {record["model"] for record in both.records} == {"two"}
    assert both.complete
    assert {record["model"] for record in read_records(tmp_path)} == {"one", "two"}
    assert score({"one": tasnet}, SONGS, plan, tmp_path).records == one.records
    with pytest.raises(InputError, match=r"other settings \(models.one .* there, .* now\)"):
        score({"one": lambda: tasnet(hidden=12)}, SONGS, plan, tmp_path)
