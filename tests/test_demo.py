"""What stands behind the page: a song and its stems, spectrograms, and the leaderboard from scores.json."""

import base64
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.signal
import soundfile

from sfi_zoo import InputError, cli, hub
from sfi_zoo.demo import scores, separation
from sfi_zoo.demo.separation import OWN, separate_song
from sfi_zoo.demo.spectrogram_view import spectrograms_html
from sfi_zoo.demo.spectrograms import FLOOR_DB, Spectrogram, spectrogram
from sfi_zoo.separation.options import SeparationOptions
from tests.half_separator import Half

NOISE = np.random.default_rng(0).uniform(-0.2, 0.2, (20000, 2))
BUNDLED = "convtasnet_naf_fd.music4"


def shown(folder: Path, rate: str = OWN, **written: object) -> separation.Shown:
    """The page's answer to noise at 44.1 kHz, or to what is `written`."""
    settings = {"data": NOISE, "samplerate": 44100} | written
    soundfile.write(folder / "song.wav", **settings)
    return separate_song(Half(), folder / "song.wav", rate, folder / "stems")


@pytest.mark.parametrize(("rate", "subtype"), [(4000, "PCM_16"), (11025, "PCM_24"), (192000, "FLOAT")])
def test_stems_keep_rate_channels_length_and_sample_format(tmp_path: Path, rate: int, subtype: str) -> None:
    stems = shown(tmp_path, samplerate=rate, subtype=subtype).stems
    assert list(stems) == list(Half.sources)
    for (name, path), share in zip(stems.items(), Half.shares, strict=True):
        info = soundfile.info(path)
        assert (info.samplerate, info.channels, info.subtype) == (rate, 2, subtype)
        assert np.allclose(soundfile.read(path)[0], share * NOISE, atol=2**-15), name


def test_formats_that_browsers_do_not_play_become_24_bits(tmp_path: Path) -> None:
    stems = shown(tmp_path, subtype="PCM_32").stems
    assert {soundfile.info(path).subtype for path in stems.values()} == {"PCM_24"}


def test_another_rate_than_the_songs_own(tmp_path: Path) -> None:
    done = shown(tmp_path, "8000")
    assert {soundfile.info(path).samplerate for path in done.stems.values()} == {8000}
    assert "at 8000 Hz" in done.summary
    titles = re.findall(r"<figcaption>(.*)</figcaption>", done.spectrograms)
    assert titles == ["the song, 44100 Hz", *(f"{name}, 8000 Hz" for name in Half.sources)]


def test_two_separations_of_one_song_do_not_meet(tmp_path: Path) -> None:
    first, second = shown(tmp_path), shown(tmp_path)
    assert set(first.stems.values()).isdisjoint(second.stems.values())
    assert all(path.exists() for path in first.stems.values())


def test_a_gain_against_clipping_is_told(tmp_path: Path) -> None:
    loud = np.zeros((20000, 1))
    loud[::2] = 1.0
    assert "scaled" not in shown(tmp_path, data=loud).summary
    separator = Half()
    separator.shares = (2.0, 0.25, 0.125, 0.125)
    raw = SeparationOptions(above="none")
    done = separate_song(separator, tmp_path / "song.wav", OWN, tmp_path / "o", options=raw)
    assert "scaled by 0.500" in done.summary


def test_by_default_stems_of_the_page_add_up_to_the_song(tmp_path: Path) -> None:
    separator = Half()
    separator.shares = (2.0, 0.25, 0.125, 0.125)
    shown(tmp_path)
    done = separate_song(separator, tmp_path / "song.wav", OWN, tmp_path / "o")
    total = sum(soundfile.read(path)[0] for path in done.stems.values())
    np.testing.assert_allclose(total, soundfile.read(tmp_path / "song.wav")[0], atol=1e-4)


@pytest.mark.parametrize(
    ("rate", "written", "message"),
    [
        (OWN, {"samplerate": 3000}, "song.wav: a sample rate of 3000 Hz is outside 4000..192000 Hz"),
        ("3000", {}, "SF: a sample rate of 3000 Hz is outside 4000..192000 Hz"),
        ("192001", {}, "SF: a sample rate of 192001 Hz is outside 4000..192000 Hz"),
        ("44.1k", {}, "SF '44.1k': give a whole number of Hz, 44100 for instance"),
        (OWN, {"data": np.zeros(4000)}, "song.wav: is silent, there is nothing to separate"),
        (OWN, {"data": np.zeros((0, 2))}, "song.wav: holds no samples (a header and nothing else)"),
        (
            OWN,
            {"data": np.full(9, np.nan), "subtype": "FLOAT"},
            "song.wav: not a finite sample (nan) at 0.000 s, channel 1",
        ),
        (
            OWN,
            {"data": np.zeros((4000 * 601, 1), np.int16), "samplerate": 4000},
            "song.wav: 10.0 min in 1 channels, this page takes 10 min of that many channels; `sfi-zoo separate` takes any length",
        ),
        (
            OWN,
            {"data": np.zeros((4000 * 301, 4), np.int16), "samplerate": 4000},
            "song.wav: 5.0 min in 4 channels, this page takes 5 min of that many channels; `sfi-zoo separate` takes any length",
        ),
    ],
)
def test_bad_input_is_told_without_the_folder_and_leaves_nothing(
    tmp_path: Path, rate: str, written: dict[str, object], message: str
) -> None:
    with pytest.raises(InputError) as error:
        shown(tmp_path, rate, **written)
    assert str(error.value) == message
    assert [path.name for path in tmp_path.iterdir()] == ["song.wav"]


def test_what_is_no_audio(tmp_path: Path) -> None:
    (tmp_path / "song.wav").write_text("no song")
    with pytest.raises(InputError, match=r"^song.wav: not a sound file that can be read"):
        separate_song(Half(), tmp_path / "song.wav", OWN, tmp_path / "stems")


@pytest.mark.parametrize("rate", [8000, 44100, 192000])
def test_levels_of_a_spectrogram_are_those_of_scipy(tmp_path: Path, rate: int) -> None:
    time = np.arange(rate) / rate
    tones = 0.5 * np.sin(2 * np.pi * 1000 * time) + 0.001 * np.sin(2 * np.pi * 2500 * time)
    soundfile.write(tmp_path / "tones.wav", tones, rate, "FLOAT")
    found = spectrogram(tmp_path / "tones.wav").decibels.numpy()[:, 4:-4]  # the edges are cut
    size = 2 * (len(found) - 1)
    _, _, power = scipy.signal.spectrogram(
        tones, rate, "hann", size, size * 3 // 4, detrend=False, scaling="spectrum", mode="psd"
    )
    expected = 10 * np.log10(np.maximum(2 * power.mean(1), 10 ** (FLOOR_DB / 10)))  # 2: peak, not r.m.s.
    bins = [round(f * size / rate) for f in (1000, 2500)]
    assert np.allclose(found.mean(1)[bins], expected[bins], atol=0.05)
    assert found.max() == pytest.approx(-6, abs=1.5)  # a tone between two bins loses 1.4 dB to the window
    assert found.min() == FLOOR_DB


def test_columns_lie_where_the_sound_is_also_across_blocks(tmp_path: Path) -> None:
    burst = np.zeros(30 * 8000)
    burst[20 * 8000 : 21 * 8000] = np.random.default_rng(0).uniform(-0.5, 0.5, 8000)
    soundfile.write(tmp_path / "burst.wav", burst, 8000)
    seen = spectrogram(tmp_path / "burst.wav")
    loud = np.flatnonzero(seen.decibels.amax(0).numpy() > -50)
    seconds = (loud + 0.5) / seen.decibels.shape[1] * seen.seconds
    assert 19.9 < seconds.min() < 20.1 and 20.9 < seconds.max() < 21.1


def test_the_browser_gets_the_levels_and_the_nyquist_frequencies(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "x.wav", NOISE, 8000)
    levels = spectrogram(tmp_path / "x.wav").decibels
    panels = {
        "a <song>": Spectrogram(levels, 44100, 1.0, False),
        "stem": Spectrogram(levels - 20, 8000, 2.0, False),
    }
    html = spectrograms_html(panels, 32000)
    head = dict(re.findall(r'data-(floor|loudest|top|trained)="([^"]*)"', html))
    assert {name: float(x) for name, x in head.items()} == pytest.approx(
        {"floor": FLOOR_DB, "loudest": float(levels.max()), "top": 1.08 * 22.05, "trained": 16}
    )
    assert re.findall(r'data-nyquist="(.*?)"', html) == ["22.05", "4"] and "<song>" not in html
    sent = re.findall(r'data-columns="(\d+)" data-rows="(\d+)" data-levels="(.*?)"', html)
    for (across, up, coded), panel in zip(sent, panels.values(), strict=True):
        rows, columns = int(up), int(across)
        steps = np.frombuffer(base64.b64decode(coded), np.uint8).reshape(rows, columns)[::-1]
        found = FLOOR_DB + steps / 255 * (float(levels.max()) - FLOOR_DB)
        assert rows <= 256 and columns == levels.shape[1]
        there = panel.decibels.numpy().argmax(0) * rows // len(levels)  # the row of the loudest bin
        assert np.allclose(
            found[there, range(columns)], panel.decibels.numpy().max(0).clip(FLOOR_DB), atol=0.3
        )


def bundled_scores() -> dict:
    return json.loads((hub.BUNDLED / BUNDLED / "scores.json").read_text())


def written(folder: Path, name: str, content: object) -> None:
    (folder / name).mkdir()
    (folder / name / "scores.json").write_text(json.dumps(content))


@pytest.fixture
def board() -> scores.Board:
    return next(board for board in scores.read_boards(hub.BUNDLED)[0].values() if BUNDLED in board.scores)


def test_the_entry_says_what_scores_json_says(board: scores.Board) -> None:
    stored = bundled_scores()
    (entry,) = (entry for entry in board.entries() if entry.model == BUNDLED)
    by_source = stored["improvement_at_trained_rate_db"]
    assert {source: x["value"] for source, x in entry.by_source.items()} == pytest.approx(by_source)
    assert entry.gained["value"] == pytest.approx(np.mean(list(by_source.values())))
    assert entry.gained["low"] < entry.gained["value"] < entry.gained["high"]
    for mode, own in entry.modes.items():
        away = [r for r in stored["rows"] if r["mode"] == mode and r["sample_rate"] != r["trained_rate"]]
        worst = max(away, key=lambda row: row["si_sdr_lost_db"])
        assert own.lost["value"] == pytest.approx(worst["si_sdr_lost_db"])
        assert own.lost["sample_rate"] == worst["sample_rate"]
        assert own.lost["low"] <= own.lost["value"] <= own.lost["high"]
        lees = [-60 if x["mask_lee"] == 0 else max(-60, x["mask_lee_db"]) for x in away]
        assert own.lee["value"] == pytest.approx(max(lees))


def test_points_and_correlation_are_those_of_scores_json(board: scores.Board) -> None:
    stored = [row for row in bundled_scores()["rows"] if row["mode"] == "native"]
    frame = scores.points(board)
    own = frame[(frame["model"] == BUNDLED) & (frame["mode"] == "native")]
    assert own["kHz"].tolist() == sorted(row["sample_rate"] / 1000 for row in stored)
    at = {row["sample_rate"] / 1000: row for row in stored}
    assert own["si_sdr_lost"].tolist() == pytest.approx([at[kHz]["si_sdr_lost_db"] for kHz in own["kHz"]])
    assert own["mask"].isna().tolist() == [kHz == 32 for kHz in own["kHz"]]
    points = scores.compared(own)
    assert len(points) == len(own) - 1
    r = scores.correlation_of(points, "masked_latent", "si_sdr_drop")
    assert r == pytest.approx(np.corrcoef(points["masked_latent"], points["si_sdr_drop"])[0, 1])
    assert np.isnan(scores.correlation_of(points[:0], "mask", "si_sdr_lost"))


def test_another_model_is_picked_up_other_data_are_apart_and_broken_scores_are_told(tmp_path: Path) -> None:
    stored = bundled_scores()
    written(tmp_path, "first", stored)
    written(tmp_path, "second", stored)
    written(tmp_path, "other", stored | {"data": {"kind": "synthetic", "tracks": 3, "seconds": 8}})
    written(tmp_path, "broken", stored | {"rows": 1})
    (tmp_path / "empty").mkdir()
    boards, problems = scores.read_boards(tmp_path)
    assert sorted(list(board.scores) for board in boards.values()) == [["first", "second"], ["other"]]
    assert "synthetic (3 tracks)" in boards
    (problem,) = problems
    assert problem.startswith("broken/scores.json: cannot be read (")


def test_what_has_no_score_is_left_out(tmp_path: Path) -> None:
    stored = bundled_scores()
    for row in stored["rows"]:
        if row["mode"] == "native":
            row.update({key: None for key in row if key.endswith(("_db", "_lee"))})
    written(tmp_path, "model", stored)
    (board,) = scores.read_boards(tmp_path)[0].values()
    assert list(board.entries()[0].modes) == ["resample", "none"]


def test_without_gradio_the_way_out_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    assert cli.main(["demo"]) == 2
    assert capsys.readouterr().err == "sfi-zoo: the page needs gradio: pip install -e '.[demo]'\n"


def test_an_unknown_model_is_2_before_anything_is_served(capsys: pytest.CaptureFixture) -> None:
    assert cli.main(["demo", "--model", "convtasnet_naf_fd.musik4"]) == 2
    assert f"did you mean {BUNDLED}" in capsys.readouterr().err


def test_the_mixer_shows_names_and_files_as_text():
    from sfi_zoo.demo.mixer import mixer_html

    page = mixer_html({'<b>"x': '/tmp/a b"<i>.wav', "bass": "/tmp/bass.wav"})
    assert "<b>" not in page and "<i>" not in page and page.count("<audio") == 2
    assert 'src="/gradio_api/file=/tmp/a%20b%22%3Ci%3E.wav"' in page and 'aria-label="Solo bass"' in page


def test_a_folder_of_results_that_is_not_there_is_told(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert cli.main(["demo", "--results", str(tmp_path / "none")]) == 2
    assert f"--results {tmp_path / 'none'}: no such folder" in capsys.readouterr().err
