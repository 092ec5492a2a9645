"""The trainer: the same weights after a kill, from several processes, and clear ends when training cannot go on."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file

import sfi_zoo
from sfi_zoo import InputError, cli
from sfi_zoo.training.optimizer import optimizer_of, rate_factor
from sfi_zoo.training.recipe import TrainConfig, read_recipe
from sfi_zoo.training.start import examples_of, fit_to_data, starting_model
from sfi_zoo.training.trainer import TrainingError, train
from tests.tiny_separators import tiny
from tests.training_folder import RATE, SECONDS, write_recipe, write_songs

pytest.importorskip("accelerate")


@pytest.fixture(scope="module")
def songs(tmp_path_factory):
    return write_songs(tmp_path_factory.mktemp("songs"))


@pytest.fixture(scope="module")
def recipe_file(tmp_path_factory):
    return write_recipe(tmp_path_factory.mktemp("recipe") / "tiny.toml")


@pytest.fixture(scope="module")
def uninterrupted(songs, recipe_file, tmp_path_factory):
    out = tmp_path_factory.mktemp("uninterrupted")
    assert run(recipe_file, songs, out) == 0
    return out


def run(recipe_file, songs, out, *options):
    return cli.main(
        ["train", str(recipe_file), "--data", str(songs), "-o", str(out), "--device", "cpu", *options]
    )


def weights(out):
    return load_file(out / "checkpoint.safetensors")


def assert_same(a, b, tolerance=0.0, of_moments=None):
    """Checkpoints agree to a tolerance; `of_moments`: that of the optimizer's, as a share of each tensor's largest value."""
    a, b = weights(a), weights(b)
    assert a.keys() == b.keys()
    for name, value in a.items():
        if of_moments is not None and name.startswith("optimizer/"):
            assert (value - b[name]).abs().max() <= of_moments * b[name].abs().max(), name
        else:
            torch.testing.assert_close(value, b[name], rtol=tolerance, atol=tolerance, msg=name)


def test_it_learns_and_leaves_a_model_a_log_and_a_checkpoint(uninterrupted):
    lines = [json.loads(line) for line in (uninterrupted / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [4, 8, 12]
    assert lines[-1]["loss"] < lines[0]["loss"]
    assert set(lines[-1]["valid_si_sdr_improvement"]) == {"vocals", "drums"}
    model = sfi_zoo.load(uninterrupted / "model")
    assert model.separate(torch.randn(1, 4000), 8000).shape == (2, 1, 4000)


def test_the_published_model_is_the_average_of_the_best_validation(uninterrupted):
    published = load_file(uninterrupted / "model" / "model.safetensors")
    state = weights(uninterrupted)
    same = [torch.equal(state[f"average/{name}"], value) for name, value in published.items()]
    last = json.loads((uninterrupted / "log.jsonl").read_text().splitlines()[-1])
    best = max(
        json.loads(line)["valid_si_sdr_improvement"]["vocals"]
        for line in (uninterrupted / "log.jsonl").read_text().splitlines()
    )
    if last["valid_si_sdr_improvement"]["vocals"] == best:
        assert all(same)
    assert not all(torch.equal(state[f"weights/{n}"], v) for n, v in published.items())


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("stop", [1, 5])
def test_a_stopped_run_goes_on_to_the_same_weights(
    stop, workers, songs, recipe_file, uninterrupted, tmp_path
):
    recipe = write_recipe(tmp_path / "tiny.toml", ("workers = 0", f"workers = {workers}"))
    assert run(recipe, songs, tmp_path / "run", "--stop-at", str(stop)) == 0
    assert not (tmp_path / "run" / "model").exists() or stop >= 4
    assert run(recipe, songs, tmp_path / "run") == 0
    assert_same(tmp_path / "run", uninterrupted)
    assert (tmp_path / "run" / "log.jsonl").read_text().count("\n") == 3


def start(recipe_file, songs, out):
    command = [sys.executable, "-m", "sfi_zoo.cli", "train", str(recipe_file), "--data", str(songs)]
    command += ["-o", str(out), "--device", "cpu"]
    pipes = {"stderr": subprocess.PIPE, "stdout": subprocess.PIPE}
    return subprocess.Popen(command, text=True, start_new_session=True, **pipes)


def wait_for_step(out, step):
    for _ in range(12000):
        if (out / "checkpoint.safetensors").exists() and done_steps(
            out
        ) >= step:  # written after the line in the log
            return
        time.sleep(0.05)
    raise AssertionError("no progress")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_killed_run_goes_on_to_the_same_weights(number, songs, recipe_file, uninterrupted, tmp_path):
    changes = ("steps = 12", "steps = 400"), ("workers = 0", "workers = 1")
    long = write_recipe(tmp_path / "long.toml", *changes)
    process = start(long, songs, tmp_path / "a")
    wait_for_step(tmp_path / "a", 8)
    os.killpg(process.pid, number)  # the workers too, as a terminal does
    process.communicate(timeout=600)
    code = {signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGINT: 130}[number]
    assert process.returncode == code
    reached = done_steps(tmp_path / "a")
    assert 8 <= reached < 400
    assert not list((tmp_path / "a").glob(".*"))
    assert run(long, songs, tmp_path / "a", "--stop-at", str(reached + 3)) == 0
    assert run(long, songs, tmp_path / "b", "--stop-at", str(reached + 3)) == 0
    assert_same(tmp_path / "a", tmp_path / "b")


def done_steps(out):
    from safetensors import safe_open

    with safe_open(out / "checkpoint.safetensors", "pt") as file:
        return json.loads(file.metadata()["progress"])["step"]


@pytest.mark.slow
def test_two_processes_train_to_the_weights_of_one(songs, recipe_file, uninterrupted, tmp_path):
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    command = [
        *launch,
        "-m",
        "sfi_zoo.cli",
        "train",
        str(recipe_file),
        "--data",
        str(songs),
        "-o",
        str(tmp_path),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "2 processes" in done.stdout
    # gradients of centre frequencies are differences of large sums: how a CPU adds shows in them (7e-4 on one), not in the weights
    assert_same(tmp_path, uninterrupted, tolerance=2e-4, of_moments=3e-3)


def test_a_batch_that_processes_cannot_share_is_refused(songs, tmp_path, monkeypatch):
    recipe = read_recipe(write_recipe(tmp_path / "r.toml"))
    model, _ = starting_model(recipe)
    examples = examples_of_songs(recipe, songs, model)
    import accelerate

    monkeypatch.setattr(accelerate.Accelerator, "num_processes", 3)
    with pytest.raises(InputError, match="batch_size 4 cannot be shared by 3"):
        train(model, examples, recipe, tmp_path / "out", device="cpu")


def examples_of_songs(recipe, songs, model):
    return examples_of(
        replace(recipe, data=replace(recipe.data, folder=str(songs))), model.sources, model.trained_rate
    )


def test_a_loss_that_is_not_finite_ends_training_and_keeps_the_checkpoint(songs, tmp_path):
    recipe = read_recipe(write_recipe(tmp_path / "r.toml"))
    model, _ = starting_model(recipe)
    examples = examples_of_songs(recipe, songs, model)
    train(model, examples, recipe, tmp_path / "out", device="cpu", stop_at=4)
    before = weights(tmp_path / "out")

    class Poisoned(torch.utils.data.Dataset):
        def __len__(self):
            return len(examples.train)

        def __getitem__(self, index):
            return examples.train[index] * (np.nan if index >= 4 * 6 else 1)

    from dataclasses import replace

    model, _ = starting_model(recipe)
    with pytest.raises(TrainingError, match="the loss is nan at step 7"):
        train(model, replace(examples, train=Poisoned()), recipe, tmp_path / "out", device="cpu")
    assert all(torch.equal(before[name], value) for name, value in weights(tmp_path / "out").items())


def test_a_killed_worker_is_told(songs, tmp_path):
    recipe = read_recipe(write_recipe(tmp_path / "r.toml", ("workers = 0", "workers = 1")))
    model, _ = starting_model(recipe)
    examples = examples_of_songs(recipe, songs, model)

    class Deadly(torch.utils.data.Dataset):
        def __len__(self):
            return len(examples.train)

        def __getitem__(self, index):
            if index == 8:
                os.kill(os.getpid(), signal.SIGKILL)
            return examples.train[index]

    from dataclasses import replace

    with pytest.raises(TrainingError, match="a worker that reads excerpts died"):
        train(model, replace(examples, train=Deadly()), recipe, tmp_path / "out", device="cpu")
    assert (tmp_path / "out" / "checkpoint.safetensors").exists()


@pytest.mark.parametrize("workers", [0, 1])
def test_a_file_that_breaks_during_training_is_named(workers, tmp_path, capsys):
    songs = write_songs(tmp_path / "songs")
    damaged = songs / "train" / "song 1" / "drums.flac"
    samples, rate = soundfile.read(damaged.with_suffix(".wav"))
    soundfile.write(damaged, samples, rate)
    damaged.with_suffix(".wav").unlink()
    whole = damaged.read_bytes()
    middle = len(whole) // 3
    damaged.write_bytes(whole[:middle] + bytes(len(whole) // 3) + whole[2 * middle :])
    recipe = write_recipe(tmp_path / "r.toml", ("workers = 0", f"workers = {workers}"))
    assert run(recipe, songs, tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert "drums.flac" in error
    assert "Traceback" not in error


def test_a_checkpoint_of_another_recipe_is_refused(songs, uninterrupted, tmp_path, capsys):
    other = write_recipe(tmp_path / "other.toml", ("warmup_steps = 2", "warmup_steps = 3"))
    before = weights(uninterrupted)
    assert run(other, songs, uninterrupted) == 2
    assert "[train] warmup_steps was 2, now 3" in capsys.readouterr().err
    assert all(torch.equal(before[name], value) for name, value in weights(uninterrupted).items())


def test_a_damaged_checkpoint_is_refused(songs, recipe_file, tmp_path, capsys):
    (tmp_path / "checkpoint.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{}")
    assert run(recipe_file, songs, tmp_path) == 2
    assert "no checkpoint that can be read" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("warmup_steps", "warmup"), "[train] unknown: warmup; known: steps"),
        (("[bandwidth]", "[bandwith]"), "unknown: bandwith; known: model"),
        (("steps = 12", 'steps = "many"'), "[train] steps must be like 10000, got 'many'"),
        (("steps = 12", "steps = 0"), "[train] steps must be in 1"),
        (("share = 0.5", "share = 1.5"), "[bandwidth] share must be in 0 ... 1, got 1.5"),
        (("share = 0.5", "share = nan"), "[bandwidth] share must be in 0 ... 1, got nan"),
        (("features = 12", "feature = 12"), "convtasnet has no setting feature"),
        (('architecture = "convtasnet"', ""), "a recipe needs [model] with an architecture"),
        (("[data]", "[data"), "no TOML"),
        (
            ("batch_size = 4", 'schedule = "step"'),
            "[train] schedule must be one of cosine, plateau, constant",
        ),
    ],
)
def test_recipes_that_are_refused(change, message, songs, tmp_path, capsys):
    recipe = write_recipe(tmp_path / "r.toml", change)
    assert run(recipe, songs, tmp_path / "out") == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_recipe_may_extend_another(tmp_path):
    write_recipe(tmp_path / "parent.toml")
    child = tmp_path / "child.toml"
    child.write_text('extends = "parent.toml"\n[train]\nsteps = 3\n[model]\nencoder_filters = {}\n')
    parent, merged = read_recipe(tmp_path / "parent.toml"), read_recipe(child)
    assert (merged.train.steps, merged.train.batch_size, merged.model["encoder_filters"]) == (3, 4, {})
    assert merged.data == parent.data
    child.write_text('extends = "child.toml"')
    with pytest.raises(InputError, match=r"extends must name another recipe.*got 'child.toml'"):
        read_recipe(child)
    child.write_text('extends = "nothing.toml"')
    with pytest.raises(InputError, match=r"nothing.toml: No such file"):
        read_recipe(child)


def test_another_seed_gives_other_weights(songs, recipe_file, uninterrupted, tmp_path, capsys):
    assert run(recipe_file, songs, tmp_path / "a", "--seed", "1", "--stop-at", "1") == 0
    assert run(recipe_file, songs, tmp_path / "b", "--stop-at", "1") == 0
    a, b = weights(tmp_path / "a"), weights(tmp_path / "b")
    assert not torch.equal(a["weights/masker.bottleneck.weight"], b["weights/masker.bottleneck.weight"])
    assert run(recipe_file, songs, tmp_path / "c", "--seed", "-1") == 2
    assert "[train] seed must be in 0" in capsys.readouterr().err


def test_no_data_is_told(recipe_file, tmp_path, capsys):
    assert cli.main(["train", str(recipe_file), "-o", str(tmp_path)]) == 2
    assert "give --data FOLDER" in capsys.readouterr().err


def test_only_some_tracks(songs, tmp_path):
    recipe = read_recipe(write_recipe(tmp_path / "r.toml", ("[data]", '[data]\nonly = "song [13]"')))
    model, _ = starting_model(recipe)
    examples = examples_of_songs(recipe, songs, model)
    assert [track.name.split("/")[-1] for track in examples.train.tracks] == ["song 1"]
    none = read_recipe(write_recipe(tmp_path / "r.toml", ("[data]", '[data]\nonly = "PJS*"')))
    with pytest.raises(InputError, match=r"\[data\] only = 'PJS\*': no train track"):
        examples_of_songs(none, songs, model)


def test_how_far_the_cache_is_filled_is_told(songs, tmp_path):
    recipe = read_recipe(
        write_recipe(tmp_path / "r.toml", ("[data]", f'[data]\ncache = "{tmp_path / "cache"}"'))
    )
    told = []
    recipe = replace(recipe, data=replace(recipe.data, folder=str(songs)))
    examples_of(recipe, recipe.model["sources"], 8000, lambda *done: told.append(done))
    assert told == [(1, 3), (2, 3), (3, 3), (1, 1)]


def test_a_checkpoint_from_before_a_key_existed_is_taken(songs, recipe_file, uninterrupted, tmp_path):
    from safetensors import safe_open
    from safetensors.torch import save_file

    with safe_open(uninterrupted / "checkpoint.safetensors", "pt") as file:
        about = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    old = json.loads(about["recipe"])
    del old["data"]["only"]
    save_file(tensors, tmp_path / "checkpoint.safetensors", metadata=about | {"recipe": json.dumps(old)})
    assert run(recipe_file, songs, tmp_path) == 0


def test_the_learning_rate_follows_the_schedule():
    cosine = TrainConfig(steps=100, warmup_steps=10)
    factors = [rate_factor(cosine, step) for step in range(100)]
    assert factors[0] == pytest.approx(0.1)
    assert factors[50] == pytest.approx(0.5)
    assert factors[99] == pytest.approx((1 + np.cos(np.pi * 0.99)) / 2)
    plateau = TrainConfig(schedule="plateau", warmup_steps=0)
    assert rate_factor(plateau, 5, 0.25) == 0.25


def test_filters_move_in_proportion_to_their_size(tmp_path):
    config = TrainConfig(learning_rate=0.01, filter_rate=0.5)
    model = tiny("convtasnet")
    groups = optimizer_of(model, config).param_groups
    highest = {id(p): group["highest"] for group in groups for p in group["params"]}
    centres = model.encoder.filters.center_khz
    assert highest[id(centres)] == pytest.approx(0.005 * np.sqrt(np.mean(centres.detach().numpy() ** 2)))
    assert highest[id(model.masker.bottleneck.weight)] == 0.01
    still = optimizer_of(model, TrainConfig(filter_rate=0.0))
    assert len(still.param_groups) == 1
    assert not centres.requires_grad


def test_training_ends_early_without_a_gain(songs, tmp_path):
    changes = (
        ("steps = 12", "steps = 400\nlearning_rate = 0.0\npatience = 2"),
        ("valid_every = 4", "valid_every = 1"),
    )
    assert run(write_recipe(tmp_path / "r.toml", *changes), songs, tmp_path / "out") == 0
    assert done_steps(tmp_path / "out") == 3  # the first is the best, two more without a gain


def test_the_first_norm_is_fitted_to_the_data(songs, tmp_path):
    recipe = read_recipe(write_recipe(tmp_path / "r.toml"))
    model, _ = starting_model(recipe)
    mixtures = [examples_of_songs(recipe, songs, model).train[i].sum(0) for i in range(4)]
    fit_to_data(model, mixtures)
    with torch.no_grad():
        seen = torch.cat(
            [model.masker.norm_1(model.seen(model.encode(mixture[None]).values)) for mixture in mixtures], -1
        ).numpy()
    np.testing.assert_allclose(seen.mean((0, 2)), 0, atol=1e-4)
    np.testing.assert_allclose(seen.std((0, 2)), 1, atol=1e-2)


def test_dead_features_are_filled_in_training_too(songs, tmp_path):
    recipe = write_recipe(tmp_path / "r.toml", ("repeats = 1", 'repeats = 1\ndead_fill = "level"'))
    assert run(recipe, songs, tmp_path / "out", "--stop-at", "4") == 0
    model = sfi_zoo.load(tmp_path / "out" / "model")
    assert (model.fill.level > 0).all()
    assert model.separate(torch.randn(1, 4000), 5000).any()


def test_silence_to_validate_on_is_told(tmp_path, capsys):
    songs = write_songs(tmp_path / "songs")
    for path in (songs / "valid").glob("*/*.wav"):
        soundfile.write(path, np.zeros(round(RATE * SECONDS)), RATE)
    assert run(write_recipe(tmp_path / "r.toml"), songs, tmp_path / "out") == 2
    assert "validation excerpts are all silent" in capsys.readouterr().err


def test_a_separator_with_no_statistics_of_its_own_starts_as_it_is():
    model = tiny("bsrnn")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    fit_to_data(model, [torch.randn(1, 9000)])
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_open_unmix_starts_with_the_mean_and_deviation_of_the_data():
    model = tiny("openunmix")
    mixtures = [torch.randn(1, 60000) for _ in range(2)]
    fit_to_data(model, mixtures)
    with torch.no_grad():
        spectra = [model.encode(mixture[None]).values.abs() for mixture in mixtures]
        seen = torch.cat(spectra, -1)[:, : len(model.targets[1].input_mean)].numpy()
    mean, scale = (
        getattr(model.targets[1], f"input_{x}").detach().numpy()[:, None] for x in ("mean", "scale")
    )
    standard = (seen + mean) * scale
    np.testing.assert_allclose(standard.mean((0, 2)), 0, atol=1e-3)
    np.testing.assert_allclose(standard.std((0, 2), ddof=1), 1, rtol=1e-3)
    with pytest.raises(InputError, match="all silent"):
        fit_to_data(model, [torch.zeros(1, 9000)])


def test_training_goes_on_from_a_trained_network_and_its_filters(songs, uninterrupted, tmp_path):
    trained = load_file(uninterrupted / "model" / "model.safetensors")
    start_at = f'steps = 12\nstart = "{uninterrupted / "model"}"'
    recipe = write_recipe(tmp_path / "r.toml", ("steps = 12", start_at))
    model, apart = starting_model(read_recipe(recipe), tmp_path)
    same = {name: torch.equal(model.state_dict()[name], value) for name, value in trained.items()}
    assert all(equal for name, equal in same.items() if name.startswith("masker"))
    assert not all(equal for name, equal in same.items() if name.startswith("encoder"))
    assert apart == {}
    both = write_recipe(
        tmp_path / "r.toml", ("steps = 12", start_at + f'\nfilters_like = "{uninterrupted / "model"}"')
    )
    model, apart = starting_model(read_recipe(both), tmp_path)
    assert apart == {"encoder": 0, "decoder": 0}
    assert all(torch.equal(model.state_dict()[name], value) for name, value in trained.items())


def test_learned_kernels_start_from_the_filters_of_a_recipe(tmp_path):
    write_recipe(tmp_path / "mgf.toml")
    options = "encoder_filters = { frequency_range = [100.0, 3500.0] }\ndecoder_filters = { frequency_range = [100.0, 3500.0] }"
    plain = write_recipe(
        tmp_path / "plain.toml",
        (options, 'filters = "interpolated"'),
        ("steps = 12", 'steps = 12\nfilters_like = "mgf.toml"'),
    )
    model, apart = starting_model(read_recipe(plain), tmp_path)
    assert max(apart.values()) < 1e-6
    reference, _ = starting_model(read_recipe(tmp_path / "mgf.toml"))
    x = torch.randn(1, 1, 3000)
    with torch.no_grad():
        torch.testing.assert_close(model.encode(x).values, reference.encode(x).values, rtol=1e-4, atol=1e-5)


def test_a_network_of_another_size_is_refused(uninterrupted, tmp_path):
    changes = ("steps = 12", f'steps = 12\nstart = "{uninterrupted / "model"}"'), ("hidden = 8", "hidden = 9")
    with pytest.raises(InputError, match="another network: masker"):
        starting_model(read_recipe(write_recipe(tmp_path / "r.toml", *changes)))
