"""Reports: rankings with uncertainty, a page that needs nothing from elsewhere, scores.json; and the commands that write them."""

import base64
import html
import json
import re
import statistics
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
from huggingface_hub import ModelCard

from sfi_zoo import InputError, cli
from sfi_zoo.commands.given import read_results
from sfi_zoo.hub import expectations
from sfi_zoo.metrics.reporting import report
from sfi_zoo.metrics.reporting.cards import BEGIN, END, update_card
from sfi_zoo.metrics.reporting.leaderboard import leaderboard
from sfi_zoo.metrics.reporting.ranking import ranking
from sfi_zoo.metrics.scoring.records import key_of
from tests.test_study import record

RATES = (8000.0, 16000.0, 32000.0, 48000.0)
MODES = ("native", "resample", "none", "fixed_masks")


MADE_WITH = {"data": {"kind": "synthetic"}, "sfi_zoo": "0", "torch": "0", "measures": {}}


def records(gains, tracks=6, noise=0.0, model="m"):
    """Models whose mean improvement over tracks is about so much in every mode."""
    rng = np.random.default_rng(1)
    made = []
    for number, gain in enumerate(gains):
        for track in range(tracks):
            for mode in MODES:
                for rate in RATES:
                    lee = -20 - rng.uniform() + 10 * (mode == "none")
                    own = gain + noise * rng.normal()
                    made.append(record(f"{model}{number}", mode, rate, f"t{track}", lee, rng.uniform(), own))
    return made


def results(folder, made, data="synthetic"):
    folder.mkdir()
    settings = {"data": {"kind": data}, "sfi_zoo": "0", "torch": "0", "measures": {}}
    settings["models"] = {r["model"]: "digest" for r in made}
    (folder / "manifest.json").write_text(json.dumps(settings))
    (folder / "records-0.jsonl").write_text("".join(json.dumps(r) + "\n" for r in made))
    return folder


def test_the_ranking_is_by_improvement_away_from_f0():
    """At F0 the second model is best by far, which does not count."""
    made = records([5.0, 4.0])
    for r in made:
        if (r["model"], r["sample_rate"]) == ("m1", 32000.0):
            r["si_sdr"] = r["si_sdr"] | {"estimate": [100.0, 100.0]}
    rows = [row for row in ranking(made, resamples=10) if row["mode"] == "native"]
    assert [row["model"] for row in rows] == ["m0", "m1"]
    assert rows[0]["si_sdr_improvement"]["value"] == pytest.approx(5.0)


def test_models_apart_have_certain_ranks_and_models_alike_uncertain_ones():
    made = [r for r in records([9.0, 5.05, 5.0], noise=0.5) if r["mode"] == "native"]
    rank = {row["model"]: row["rank"] for row in ranking(made, resamples=300)}
    assert rank["m0"] == {"value": 1, "low": 1, "high": 1}
    assert (rank["m1"]["low"], rank["m1"]["high"]) == (2, 3) == (rank["m2"]["low"], rank["m2"]["high"])


def test_intervals_are_those_of_a_bootstrap_over_tracks():
    made = [
        r for r in records([5.0], tracks=15, noise=3.0) if r["mode"] == "native" and r["sample_rate"] != 32000
    ]
    per_track = np.array([np.mean(r["si_sdr"]["estimate"]) for r in made]).reshape(15, 3).mean(1)
    rng = np.random.default_rng(3)
    expected = np.percentile(per_track[rng.integers(0, 15, (4000, 15))].mean(1), [2.5, 97.5])
    found = ranking(made, resamples=4000)[0]["si_sdr_improvement"]
    assert found["value"] == pytest.approx(per_track.mean())
    assert [found["low"], found["high"]] == pytest.approx(expected, abs=0.1)


def test_only_rates_that_all_have_are_ranked_over():
    made = [r for r in records([5.0, 4.0]) if not (r["model"] == "m1" and r["sample_rate"] != 8000)]
    for r in made:
        if r["model"] == "m0" and r["sample_rate"] == 48000:
            r["si_sdr"] = r["si_sdr"] | {"estimate": [90.0, 90.0]}
    assert ranking(made, 0)[0]["si_sdr_improvement"]["value"] == pytest.approx(5.0)
    with pytest.raises(InputError, match="nothing to rank"):
        ranking([r for r in made if r["sample_rate"] == 32000], 0)


class Page(HTMLParser):
    """Tags, what they point at, and the text of each cell."""

    def __init__(self, text):
        super().__init__()
        self.targets, self.cells, self.tags, self._open = [], [], [], False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag in ("td", "th"):
            self._open = True
            self.cells.append("")
        self.targets += [value for key, value in attrs if key in ("src", "href", "data", "srcset", "action")]

    def handle_data(self, data):
        if self._open:
            self.cells[-1] += data

    def handle_endtag(self, tag):
        self._open = self._open and tag not in ("td", "th")


@pytest.fixture
def written(tmp_path):
    pytest.importorskip("matplotlib")
    failed = {"model": "m0", "track": "t0", "mode": "native", "sample_rate": 4000.0, "trained_rate": 32000}
    made = [*records([5.0, 4.0]), failed | {"sources": ["a", "b"], "failed": "<NaN> & more"}]
    folder = results(tmp_path / "results", made)
    command = ["report", str(folder), "--resamples", "20", "--scores-json", str(tmp_path / "hub")]
    assert cli.main(command) == 0
    return folder


def test_the_page_needs_nothing_from_elsewhere(written):
    text = (written / "report.html").read_text()
    page = Page(text)
    assert len(page.targets) == 1  # the picture of the study; curves are drawn in the page
    assert all(target.startswith("data:image/svg+xml;base64,") for target in page.targets)
    assert (
        not {"link", "iframe", "object"} & set(page.tags)
        and "<script>" in text  # within the page
        and "@import" not in text
        and "url(" not in text
    )
    for target in page.targets:
        drawing = base64.b64decode(target.split(",")[1]).decode()
        assert "<svg" in drawing and not re.findall(r'(?:href|src)="(?!#)', drawing)


def test_page_and_markdown_hold_the_same_tables(written):
    """The leaderboard's too, whose cells on the page have a model's tracks and no name of their group."""

    def cells(part):
        lines = [x for x in part.splitlines() if x.startswith("| ") and "---" not in x]
        return [html.unescape(x.strip()) for line in lines for x in line.strip("|").split(" | ")]

    _, head, *rest = (written / "report.md").read_text().split("\n## ")
    _, board, *others = (written / "report.html").read_text().split("<h2>")
    assert [x for part in rest for x in cells(part)] == [
        x.strip() for part in others for x in Page(part).cells
    ]
    shown = Page(board.split("<tbody>")[1]).cells
    figures = [x.replace("[", " [") for x in shown if ";" not in x]
    assert figures == [x for x in cells(head)[len(cells(head)) // 3 :] if "(a, b)" not in x]


def test_failures_are_listed_and_escaped(written):
    assert "&lt;NaN&gt; &amp; more" in (written / "report.html").read_text()
    assert "| m0 | t0 | native | 4000 | &lt;NaN&gt; &amp; more |" in (written / "report.md").read_text()


def test_every_table_of_a_model_has_both_controls(written):
    for part in (written / "report.md").read_text().split("## ")[4:6]:
        assert all(f"| {mode} | 8000 |" in part for mode in MODES)


def test_the_report_is_the_same_every_time(written):
    before = (written / "report.html").read_bytes()
    assert cli.main(["report", str(written), "--resamples", "20"]) == 0
    assert (written / "report.html").read_bytes() == before


def test_scores_json_holds_the_rows(written):
    scores = json.loads((written.parent / "hub" / "m1" / "scores.json").read_text())
    row = next(r for r in scores["rows"] if (r["mode"], r["sample_rate"]) == ("native", 8000))
    assert row["si_sdr_improvement_db"] == pytest.approx(4.0) and -21 < row["mask_lee_db"] < -20
    assert scores["improvement_at_trained_rate_db"] == pytest.approx({"a": 3.0, "b": 5.0})
    assert scores["data"] == {"kind": "synthetic"}


# the leaderboard ----------------------------------------------------------------------------------------------------


def boards(made, **options):
    return {(row["model"], row["mode"]): row for row in leaderboard(made, **{"resamples": 0} | options)}


def grouped(gains):
    """A model in one mode at F0, 8 and 16 kHz; gains {track: (source a, source b)}, None where silent."""
    made = []
    for track, gain in gains.items():
        for rate, lost in ((32000.0, 0.0), (8000.0, 3.0), (16000.0, 1.0), (44100.0, 2.0)):
            one = record("m", "native", rate, track, -20.0, lost)
            one["si_sdr"] = one["si_sdr"] | {
                "estimate": list(gain),
                "trained": [None if g is None else g + lost for g in gain],
            }
            made.append(one)
    return made


def test_gains_are_means_of_sources_and_apart_by_group():
    """The mean of the sources' means is not that of all (track, source) pairs where a source is silent somewhere."""
    row = boards(grouped({"EIF - A 000s": (6.0, None), "EIF - B": (8.0, 2.0), "PJS - 089": (1.0, 3.0)}))[
        "m", "native"
    ]
    assert row["si_sdr_improvement"]["value"] == pytest.approx((5.0 + 2.5) / 2)
    assert {s: x["value"] for s, x in row["by_source"].items()} == pytest.approx({"a": 5.0, "b": 2.5})
    eif, pjs = row["by_group"]["EIF"], row["by_group"]["PJS"]
    assert (eif["tracks"], pjs["tracks"], row["tracks"]) == (2, 1, 3)
    assert eif["si_sdr_improvement"]["value"] == pytest.approx((7.0 + 2.0) / 2)
    assert pjs["by_source"]["b"]["value"] == pytest.approx(3.0)


def test_losses_and_lee_of_a_leaderboard():
    row = boards(grouped({"x": (6.0, 4.0)}))["m", "native"]
    assert (row["worst_lost"]["value"], row["worst_lost"]["sample_rate"]) == (pytest.approx(2.0), 44100.0)
    assert row["lost_at_8k"]["value"] == pytest.approx(3.0)
    assert row["mask_lee"]["value"] == pytest.approx(-20) and row["by_group"] == {}
    assert [r["sample_rate"] for r in row["rates"]] == [8000, 16000, 32000, 44100]
    assert row["rates"][0]["si_sdr_lost_db"] == pytest.approx(3.0)


def test_intervals_of_a_leaderboard_are_those_of_a_bootstrap():
    rng = np.random.default_rng(0)
    gains = rng.normal(5, 3, (15, 2))
    row = boards(grouped({f"t{i:02d}": tuple(g) for i, g in enumerate(gains)}), resamples=4000)["m", "native"]
    expected = np.percentile(gains.mean(1)[rng.integers(0, 15, (4000, 15))].mean(1), [2.5, 97.5])
    found = row["si_sdr_improvement"]
    assert [found["low"], found["high"]] == pytest.approx(expected, abs=0.1)


def test_json_of_a_report_is_the_leaderboard_with_the_best_first(tmp_path, capsys):
    folder = results(tmp_path / "results", records([4.0, 5.0]))
    pytest.importorskip("matplotlib")
    assert cli.main(["report", str(folder), "--resamples", "5", "--json"]) == 0
    assert (folder / "report.html").is_file() and (folder / "report.md").is_file()
    rows = json.loads(capsys.readouterr().out)
    assert [row["model"] for row in rows] == ["m1"] * 3 + ["m0"] * 3
    assert {row["mode"] for row in rows} == set(MODES) - {"fixed_masks"}


def test_the_bootstrap_of_a_report_runs_once_for_all_that_is_written(tmp_path, capsys, monkeypatch):
    pytest.importorskip("matplotlib")
    made, calls = records([4.0, 5.0], noise=1.0), []
    folder, alone = results(tmp_path / "results", made), tmp_path / "alone"
    for model in ("m0", "m1"):
        own = [record for record in made if record["model"] == model]
        report.write_scores(own, MADE_WITH | {"models": {model: "0" * 12}}, alone)

    def counted(*given, **options):
        calls.append(given)
        return leaderboard(*given, **options)

    for place in ("leaderboard", "board", "report"):
        monkeypatch.setattr(f"sfi_zoo.metrics.reporting.{place}.leaderboard", counted)
    assert cli.main(["report", str(folder)]) == 0
    without = (folder / "report.html").read_bytes()
    assert cli.main(["report", str(folder), "--scores-json", str(tmp_path / "scores"), "--json"]) == 0
    assert len(calls) == 2 and (folder / "report.html").read_bytes() == without
    for model in ("m0", "m1"):  # what a model's file holds does not depend on which others are there
        one, other = (
            json.loads((path / model / "scores.json").read_text())["leaderboard"]
            for path in (tmp_path / "scores", alone)
        )
        assert one == other


def test_models_with_other_tracks_have_bootstraps_of_their_own(tmp_path):
    made = [r for r in records([4.0, 5.0]) if (r["model"], r["track"]) != ("m1", "t1")]
    assert len(report.by_tracks(made)) == 2
    both = report.scores_of(made, MADE_WITH | {"models": {"m0": "0" * 12, "m1": "0" * 12}}, resamples=50)
    for model in ("m0", "m1"):
        own = [record for record in made if record["model"] == model]
        alone = report.scores_of(own, MADE_WITH | {"models": {model: "0" * 12}}, resamples=50)
        assert both[model] == alone[model]


def test_json_of_scores_alone_is_refused_before_anything_is_written(tmp_path, capsys):
    files = scores_files(tmp_path, [4.0], "zoo")
    assert cli.main(["report", *map(str, files), "--json", "-o", str(tmp_path / "page")]) == 2
    assert "leaderboard of results folders" in capsys.readouterr().err
    assert not (tmp_path / "page").exists()


def test_a_leaderboard_of_nothing_is_refused():
    with pytest.raises(InputError, match="no record holds a score"):
        leaderboard([])


# cards --------------------------------------------------------------------------------------------------------------

PROSE = "\n# m0\n\nSome *prose* with  two spaces,\ttabs, umlauts \u00fc --- and rules\n\n---\nend"


@pytest.fixture
def card(tmp_path):
    pytest.importorskip("matplotlib")
    folder = tmp_path / "hub" / "m0"
    folder.mkdir(parents=True)
    path = folder / "README.md"
    path.write_text("---\nlicense: mit\ntags:\n- b\n- a\n---\n" + PROSE + "\n")
    return path


def report_cards(tmp_path, gains, data="synthetic"):
    made = results(tmp_path / f"results {gains}", records(gains), data)
    return cli.main(
        ["report", str(made), "--resamples", "0", "--cards", str(tmp_path / "hub"), "--dataset", "the songs"]
    )


def test_a_card_that_cannot_be_written_whole_is_not_begun(card, tmp_path, capsys):
    card.write_text(card.read_text() + f"\n{expectations.BEGIN}\n{expectations.END}\n")
    before = card.read_bytes()
    assert report_cards(tmp_path, [5.0, 4.0]) == 2
    assert "config.json, and that is missing; nothing was written" in capsys.readouterr().err
    assert card.read_bytes() == before and [path.name for path in card.parent.iterdir()] == ["README.md"]


def test_cards_carry_the_scores_and_keep_their_prose(card, tmp_path):
    assert report_cards(tmp_path, [5.0, 4.0]) == 0
    loaded = ModelCard.load(card)
    assert loaded.data.license == "mit" and loaded.data.tags == ["b", "a"] and loaded.data.model_name == "m0"
    scores = json.loads((card.parent / "scores.json").read_text())
    native = {f"{row['sample_rate']:g} Hz": row for row in scores["rows"] if row["mode"] == "native"}
    kinds = {"si_sdr": "si_sdr_db", "si_sdr_lost": "si_sdr_lost_db"}
    kinds |= {lee: f"{lee}_db" for lee in ("mask_lee", "predictor_lee", "masked_latent_lee")}
    found = {(r.dataset_config, r.metric_type): r.metric_value for r in loaded.data.eval_results}
    expected = {(rate, kind): row[key] for rate, row in native.items() for kind, key in kinds.items()}
    (at,) = (rate for rate, row in native.items() if row["sample_rate"] == row["trained_rate"])
    expected[at, "si_sdr_improvement"] = statistics.fmean(scores["improvement_at_trained_rate_db"].values())
    assert found == pytest.approx(expected, rel=1e-5)
    assert all(
        "dB, our reading of arXiv:2506.03550" in r.metric_name
        for r in loaded.data.eval_results
        if "lee" in r.metric_type
    )
    before, table, after = parts_of(card)
    assert before == PROSE + "\n\n## Scores\n\n" and after == "\n"
    assert "6 tracks of the songs" in table and "| native | 8000 |" in table


def parts_of(card):
    """Prose before the table, the table, and after it."""
    body = card.read_bytes().decode().split("---\n", 2)[2]
    before, rest = body.split(BEGIN)
    table, after = rest.split(END)
    return before, table, after


def test_a_table_is_replaced_where_it_stands(card, tmp_path):
    card.write_text(card.read_text() + f"\n{BEGIN}old{END}\nmore prose \r\n")
    assert report_cards(tmp_path, [5.0]) == 0
    first = card.read_bytes()
    assert report_cards(tmp_path, [6.0]) == 0 and card.read_bytes() != first
    before, table, after = parts_of(card)
    assert (before, after) == (PROSE + "\n\n", "\nmore prose \r\n")
    assert "old" not in table and table.count("| native | 8000 |") == 1
    assert update_card(card.parent) == card and parts_of(card) == (before, table, after)


def test_models_without_a_folder_get_none(card, tmp_path):
    assert report_cards(tmp_path, [5.0, 4.0]) == 0
    assert [path.name for path in (tmp_path / "hub").iterdir()] == ["m0"]


def test_a_comment_without_the_other_is_refused_and_nothing_is_written(card, tmp_path):
    card.write_text(card.read_text() + BEGIN)
    before = card.read_bytes()
    assert report_cards(tmp_path, [5.0]) == 2 and card.read_bytes() == before


# the study ----------------------------------------------------------------------------------------------------------


def test_models_and_modes_can_be_left_out_of_the_study(tmp_path, capsys):
    folder = results(tmp_path / "results", records([5.0, 4.0, 3.0]))
    command = ["study", str(folder), "--no-plots", "--json"]
    assert cli.main([*command, "--leave-out", "m1", "--leave-out", "none"]) == 0
    row = next(r for r in json.loads(capsys.readouterr().out) if r["group"] == "all")
    assert (row["models"], row["points"]) == (2, 2 * 2 * 3)
    assert cli.main([*command, "--leave-out", "m9"]) == 2
    assert "m9: not among" in capsys.readouterr().err


def test_ranks_within_a_mode():
    made = records([5.0, 4.0])
    for r in made:
        if r["mode"] == "none":
            r["si_sdr"] = r["si_sdr"] | {"estimate": [0.0, 0.0] if r["model"] == "m0" else [1.0, 1.0]}
    rows = {(row["model"], row["mode"]): row for row in ranking(made, 0)}
    assert rows["m1", "none"]["rank"]["value"] == 5 and rows["m1", "none"]["rank_in_mode"]["value"] == 1
    assert rows["m1", "native"]["rank_in_mode"]["value"] == 2


def test_study_writes_its_figures(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    folder = results(tmp_path / "results", records([5.0, 4.0]))
    assert cli.main(["study", str(folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads((folder / "study.json").read_text())
    assert len(list(folder.glob("scatter_*.svg"))) == 16  # eight costs, two scales


def test_several_folders_are_one_zoo(tmp_path, capsys):
    folders = [results(tmp_path / name, records([5.0], model=name)) for name in ("a", "b")]
    assert cli.main(["study", *map(str, folders), "--no-plots", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert next(r for r in found if r["group"] == "all")["models"] == 2


def test_folders_may_share_what_they_agree_on(tmp_path):
    made = records([5.0, 4.0])
    folders = [results(tmp_path / "a", made[:-3]), results(tmp_path / "b", made[3:])]
    assert sorted(read_results(folders)[0], key=key_of) == sorted(made, key=key_of)


@pytest.mark.parametrize("command", ["study", "report"])
@pytest.mark.parametrize(
    ("break_it", "says"),
    [
        (
            lambda made, other: results(other, [*made[:-1], made[-1] | {"si_sdr": made[0]["si_sdr"]}]),
            "have different scores of m0 on",
        ),
        (
            lambda made, other: results(other, records([5.0], model="x"), "folder"),
            "other and {folder} are of different data (kind folder and synthetic)",
        ),
        (lambda made, other: other.mkdir(), "no results of `sfi-zoo score`"),
    ],
    ids=["twice", "data", "none"],
)
def test_folders_that_do_not_go_together(command, break_it, says, tmp_path, capsys):
    made = records([5.0])
    folder = results(tmp_path / "results", made)
    break_it(made, tmp_path / "other")
    assert cli.main([command, str(folder), str(tmp_path / "other")]) == 2
    assert says.format(folder=folder) in capsys.readouterr().err


def test_a_model_that_was_not_scored_at_f0_is_told(tmp_path, capsys):
    made = records([5.0])
    folder = results(tmp_path / "results", [r for r in made if r["sample_rate"] != 32000.0])
    assert cli.main(["report", str(folder), "--resamples", "5"]) == 0
    said = "m0 was not scored at its F0: what it gains is not known, and it has no rank; score it at 32000 Hz too"
    assert said in capsys.readouterr().err
    page = (folder / "report.md").read_text()
    assert "| m0 (a, b) |" in page and "m0 ()" not in page


def failing(made, units):
    """The same, without a score of some units (model, mode, F, track)."""
    common = ("model", "track", "mode", "sample_rate", "trained_rate", "sources")
    return [
        {key: r[key] for key in common} | {"failed": "it raised"}
        if (r["model"], r["mode"], r["sample_rate"], r["track"]) in units
        else r
        for r in made
    ]


@pytest.mark.parametrize("command", [["study", "--no-plots"], ["report", "--resamples", "5"]])
@pytest.mark.parametrize("count", [0, 1, 5])
def test_means_over_fewer_tracks_are_told(command, count, tmp_path, capsys):
    units = [("m0", "native", 8000.0, "t0"), ("m0", "native", 8000.0, "t1"), ("m1", "none", 16000.0, "t2")]
    units += [("m1", mode, 48000.0, "t0") for mode in ("native", "resample")]
    folder = results(tmp_path / "results", failing(records([5.0, 4.0]), units[:count]))
    assert cli.main([*command, str(folder)]) == 0
    said = capsys.readouterr().err
    start = "note: means over fewer tracks do not compare with the others: m0, native, 8000 Hz"
    assert (f"{start} (5 of 6)\n" in said) == (count == 1) and (start in said) == (count > 0)
    assert (f"{start} (4 of 6); m1, native, 48000 Hz (5 of 6); " in said) == (count == 5)
    assert ("; and 1 more" in said) == (count == 5)


def test_a_folder_of_cards_without_a_card_is_told(tmp_path, capsys):
    folder, cards = results(tmp_path / "results", records([5.0])), tmp_path / "cards"
    (cards / "m0").mkdir(parents=True)
    assert cli.main(["report", str(folder), "--resamples", "5", "--cards", str(cards)]) == 0
    assert f"no card in {cards}, nothing written there: m0" in capsys.readouterr().err
    assert not list((cards / "m0").iterdir())


@pytest.mark.parametrize("command", ["study", "report"])
def test_the_commands_show_an_example(command, capsys):
    assert cli.main([command, "--help"]) == 0
    assert f"Example: sfi-zoo {command}" in capsys.readouterr().out


# scores.json files beside results folders ----------------------------------------------------------------------------


def scores_files(tmp_path, gains, name, data="synthetic", version="0"):
    """Folders of models with a scores.json, as `--scores-json` writes them."""
    folder = results(tmp_path / f"run {name}", records(gains, model=name), data)
    settings = json.loads((folder / "manifest.json").read_text()) | {"sfi_zoo": version}
    (folder / "manifest.json").write_text(json.dumps(settings))
    command = ["report", str(folder), "--resamples", "5", "--scores-json", str(tmp_path / name)]
    assert cli.main(command) == 0
    return [tmp_path / name / f"{name}{i}" / "scores.json" for i in range(len(gains))]


@pytest.fixture
def no_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)


def test_a_row_of_ones_own_stands_among_others(tmp_path, capsys):
    zoo = scores_files(tmp_path, [7.0, 3.0], "zoo")
    mine = results(tmp_path / "mine", records([5.0], model="mine"))
    command = ["report", str(mine), *map(str, zoo), "-o", str(tmp_path / "page"), "--resamples", "5"]
    assert cli.main(command) == 0
    text = (tmp_path / "page" / "report.md").read_text()
    board = text.split("## ")[1]
    places = [board.index(name) for name in ("zoo0", "mine0", "zoo1")]
    assert places == sorted(places) and board.startswith("Leaderboard: synthetic")
    assert "## Does a LEE tell" in text
    assert capsys.readouterr().err == ""


def test_scores_on_other_songs_stay_apart_and_this_is_told(tmp_path, capsys):
    others = scores_files(tmp_path, [7.0], "zoo", data="folder")
    mine = results(tmp_path / "mine", records([5.0], model="mine"))
    given = [str(mine), str(others[0].parent)]
    assert cli.main(["report", *given, "--resamples", "5"]) == 0
    text = (mine / "report.md").read_text()
    ours, theirs = text.split("## ")[1:3]
    assert "mine0" in ours and "zoo0" not in ours and "zoo0" in theirs
    assert "Figures on other songs do not compare" in ours
    capsys.readouterr()
    assert cli.main(["study", *given, "--no-plots", "--json"]) == 0
    said = capsys.readouterr()
    assert "left out, scored on other songs, folder (? tracks): zoo0" in said.err
    assert {row["models"] for row in json.loads(said.out)} == {1}


def test_the_zoo_beside_a_folder(tmp_path, capsys):
    mine = results(tmp_path / "mine", records([5.0], model="mine"))
    assert cli.main(["report", str(mine), "--with-zoo", "--resamples", "5"]) == 0
    text = (mine / "report.md").read_text()
    assert text.startswith("# Scores: mine0\n") and "convtasnet_plain.music4" in text


def test_a_study_of_scores_alone(tmp_path, capsys):
    """Points are those of the records; intervals are those of families."""
    files = scores_files(tmp_path, [7.0, 3.0, 5.0], "zoo")
    capsys.readouterr()
    assert cli.main(["study", *map(str, files), "-o", str(tmp_path / "out"), "--no-plots", "--json"]) == 0
    means = json.loads(capsys.readouterr().out)
    assert cli.main(["study", str(tmp_path / "run zoo"), "--no-plots", "--json"]) == 0
    whole = {(r["group"], r["metric"], r["scale"], r["cost"]): r for r in json.loads(capsys.readouterr().out)}
    assert {(r["group"], r["metric"], r["scale"], r["cost"]) for r in means} == set(whole)
    for row in means:
        same = whole[row["group"], row["metric"], row["scale"], row["cost"]]
        assert row["pearson"]["value"] == pytest.approx(same["pearson"]["value"], abs=1e-9), row
        assert row["tracks"] == 1 and row["points"] == same["points"]
    assert next(r for r in means if r["group"] == "all")["pearson"]["low"] is not None
    assert cli.main(["study", *map(str, files), "--no-plots"]) == 2
    assert "say where to write" in capsys.readouterr().err


@pytest.mark.usefixtures("no_matplotlib")
@pytest.mark.parametrize("command", ["study", "report"])
def test_without_matplotlib_all_but_the_pictures_is_written(command, tmp_path, capsys):
    folder = results(tmp_path / "results", records([5.0, 4.0]))
    assert cli.main([command, str(folder)]) == 0
    assert "matplotlib is not installed: all is written but the pictures" in capsys.readouterr().err
    names = {path.name for path in folder.iterdir()} - {"manifest.json", "records-0.jsonl"}
    assert names == ({"study.json"} if command == "study" else {"report.html", "report.md"})
    if command == "report":
        assert "## Does a LEE tell" in (folder / "report.md").read_text()


def test_scores_of_other_versions_are_told(tmp_path, capsys):
    new, old = (
        scores_files(tmp_path, [7.0, 6.0], name, version=v)[0] for name, v in (("new", "2"), ("old", "1"))
    )
    out = ["-o", str(tmp_path / "out")]
    assert cli.main(["report", str(new), str(old), *out, "--resamples", "5"]) == 0
    assert "Scored by sfi_zoo 1, 2: figures may differ" in (tmp_path / "out" / "report.md").read_text()
    capsys.readouterr()
    assert cli.main(["study", str(new), str(old), *out, "--no-plots"]) == 0
    assert "Scored by sfi_zoo 1, 2" in capsys.readouterr().err
    assert cli.main(["study", str(tmp_path / "run new"), str(tmp_path / "run old"), "--no-plots"]) == 0
    assert "scored by sfi_zoo 1, 2" in capsys.readouterr().err


def test_a_study_of_one_model_or_one_family_says_what_it_cannot_say(tmp_path, capsys):
    one = results(tmp_path / "one", records([5.0]))
    assert cli.main(["study", str(one), "--no-plots"]) == 0
    assert "one family of models alone" in capsys.readouterr().err
    two = results(tmp_path / "two", records([5.0, 4.0]))
    assert cli.main(["study", str(two), "--family", "m0,m1", "--no-plots"]) == 0
    assert "one family of models alone" in capsys.readouterr().err
    assert cli.main(["study", str(two), "--no-plots"]) == 0
    assert "one family" not in capsys.readouterr().err


def test_results_without_f0_have_a_card_that_says_so(card, tmp_path):
    made = [r for r in records([5.0]) if r["sample_rate"] != 32000]
    folder = results(tmp_path / "away", made)
    assert cli.main(["report", str(folder), "--resamples", "5", "--cards", str(tmp_path / "hub")]) == 0
    table = parts_of(card)[1]
    assert "Not scored at F0 natively: no gain there." in table and "in dB: ." not in table


def test_margins_that_differ_are_refused(tmp_path, capsys):
    folders = []
    for name, margin in (("a", 0.9), ("b", 0.8)):
        folders.append(results(tmp_path / name, records([5.0], model=name)))
        settings = json.loads((folders[-1] / "manifest.json").read_text()) | {"measures": {"margin": margin}}
        (folders[-1] / "manifest.json").write_text(json.dumps(settings))
    assert cli.main(["study", *map(str, folders), "--no-plots"]) == 2
    assert "up to different margins" in capsys.readouterr().err


@pytest.mark.parametrize(
    "broken",
    [
        "[]", "{", '{"rows": []}', "[" * 100000,
        '{"data": {}, "measures": {}, "sfi_zoo": "0", "rows": [{"mode": "x"}], "improvement_at_trained_rate_db": {}}',
        '{"data": {}, "measures": {}, "sfi_zoo": "0", "rows": [{"mode": "native", "sample_rate": 1e999}],'
        ' "improvement_at_trained_rate_db": {}}',
        '{"data": {}, "measures": {}, "sfi_zoo": "0", "rows": [], "improvement_at_trained_rate_db": {"a": "b"}}',
    ],
)  # fmt: skip
def test_a_broken_scores_json_is_told_in_one_line(broken, tmp_path, capsys):
    path = tmp_path / "mine" / "scores.json"
    path.parent.mkdir()
    path.write_text(broken)
    assert cli.main(["report", str(path), "-o", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err.strip()
    assert "scores.json" in said and "\n" not in said


def test_what_is_not_finite_is_null():
    from sfi_zoo.metrics.reporting.report import numbers

    given = {"a": [1.0, float("nan")], "b": (float("-inf"), 2), "c": {"d": None, "e": "nan", "f": True}}
    assert numbers(given) == {"a": [1.0, None], "b": [None, 2], "c": {"d": None, "e": "nan", "f": True}}
