"""The training loop, on Hugging Face Accelerate: one process, several, or several machines.

Everything drawn at random (examples, augmentation, noise in the network) depends on the seed and the step alone. So a run that was killed
and goes on from its checkpoint gives the weights of a run that was not, and processes that share a batch give those of one process, up
to the order of sums.
"""

import math
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from sfi_zoo.errors import InputError
from sfi_zoo.models.base import Separator
from sfi_zoo.training.bands import ROUND_TRIP, band_limit, band_rates
from sfi_zoo.training.checkpoint import Progress, load_checkpoint, save_checkpoint
from sfi_zoo.training.log import Mean, append_record, cut_log
from sfi_zoo.training.objective import Objective
from sfi_zoo.training.optimizer import moving_average, optimizer_of, rate_factor
from sfi_zoo.training.processes import check_launch, on_cpu
from sfi_zoo.training.recipe import PRECISIONS, Recipe
from sfi_zoo.training.stopping import SIGNALS, Stopping
from sfi_zoo.training.validation import validate
from sfi_zoo.training.workers import batches

MODEL = "model"
PLATEAU = 2  # validations without a gain
# what a run may change when it goes on: it does not decide which weights come out, or only from there on
FREE = frozenset({"data.folder", "data.workers", "data.cache", "train.patience", "train.valid_every"})
Report = Callable[[int, int, dict[str, float]], None]


class TrainingError(InputError):
    """Training cannot go on; the last checkpoint is kept."""


@dataclass(frozen=True)
class Examples:
    """What is trained and validated on; see `sfi_zoo.training.excerpts`.

    Attributes:
        train: item `index` is (sources, channels, time) at F0, by the index alone.
        valid: the same; all are used.
        skipped: tracks that were left out, and why.
    """

    train: Dataset[Tensor]
    valid: Dataset[Tensor]
    skipped: tuple[str, ...] = ()


def train(
    model: Separator,
    examples: Examples,
    recipe: Recipe,
    out: str | Path,
    *,
    report: Report | None = None,
    device: str | None = None,
    stop_at: int | None = None,
) -> Progress:
    """Train a separator, or go on with a run.

    Args:
        model: at its start; it ends with the weights of the last step.
        examples: for training and validation.
        recipe: everything else.
        out: folder of the run: checkpoint, log, TensorBoard events if that is installed, and `model/`, the best model as published.
        report: called with (steps done, steps in all, figures of this step).
        device: "cpu", "cuda", ...; Accelerate's choice when omitted, and the CPU where there is no accelerator.
        stop_at: leave a checkpoint and stop after so many steps in all.

    Returns:
        How far training is.

    Raises:
        InputError: a checkpoint made with another recipe, a batch that cannot be shared by the processes, several processes asked for
            and one started.
        TrainingError: the loss is not finite, or a worker died; the last checkpoint is kept.
    """
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(recipe.train.matmul_precision)
    try:
        return _Run(model, examples, recipe, Path(out), report, device).go(stop_at)
    except RuntimeError as error:  # a signal handler raises it, wherever the main thread is
        if "DataLoader worker" not in str(error):
            raise
        raise TrainingError(
            f"a worker that reads excerpts died ({_first_line(error)}); the checkpoint in {out} is whole: run again to go on"
        ) from None
    finally:
        torch.set_float32_matmul_precision(before)


class _Run:
    """One process' share of a training run."""

    def __init__(
        self,
        model: Separator,
        examples: Examples,
        recipe: Recipe,
        out: Path,
        report: Report | None,
        device: str | None,
    ) -> None:
        from accelerate import Accelerator, DistributedDataParallelKwargs

        check_launch()
        try:
            str(out).encode()
        except UnicodeEncodeError:
            raise InputError(f"{out}: this name is not valid text, choose another") from None
        config = recipe.train
        self.recipe, self.config, self.out, self.report = recipe, config, out, report
        # some networks have outputs that nobody uses, whose weights get no gradient
        unused = DistributedDataParallelKwargs(find_unused_parameters=True)
        self.engine = Accelerator(
            mixed_precision=PRECISIONS[config.precision],
            cpu=on_cpu(device),
            kwargs_handlers=[unused],
            log_with="tensorboard" if _has_tensorboard() else None,
            project_dir=out,
        )
        self.share = config.batch_size // self.engine.num_processes
        if self.share * self.engine.num_processes != config.batch_size:
            raise InputError(
                f"batch_size {config.batch_size} cannot be shared by {self.engine.num_processes} processes; take a multiple"
            )
        self.model = model.to(self.engine.device)
        self.average = None
        if config.ema:
            self.average = torch.optim.swa_utils.AveragedModel(
                self.model, multi_avg_fn=moving_average(config.ema), use_buffers=False
            )
        optimizer = optimizer_of(self.model, config)
        self.objective, self.optimizer = self.engine.prepare(Objective(self.model, recipe.loss), optimizer)
        self.examples = examples
        out.mkdir(parents=True, exist_ok=True)
        inner = getattr(self.optimizer, "optimizer", self.optimizer)
        self.inner_optimizer = inner
        self.progress = (
            load_checkpoint(out, self.model, self._averaged(), inner, recipe.as_dict(), FREE) or Progress()
        )
        if self.average is not None:
            self.average.n_averaged.fill_(self.progress.average_updates)
        if self.engine.scaler is not None and self.progress.scaler:
            self.engine.scaler.load_state_dict(self.progress.scaler)

    def go(self, stop_at: int | None) -> Progress:
        """Steps until the last, or until it is told to stop."""
        config, progress = self.config, self.progress
        last = config.steps if stop_at is None else min(stop_at, config.steps)
        if self.engine.is_main_process:
            cut_log(self.out, progress.step)
        self.engine.init_trackers("tensorboard")
        self.mean = mean = Mean(progress.sums, progress.count)
        if progress.step == 0 and self.engine.is_main_process:
            self._save()
        with Stopping() as stopping:
            begin = time.perf_counter()
            for targets in self._batches(progress.step, last):
                waited = time.perf_counter() - begin
                loss, norm = self._step(targets)
                seconds = time.perf_counter() - begin
                mean.add(loss=loss, gradient_norm=norm, step_seconds=seconds, wait_seconds=waited)
                if self.report is not None and self.engine.is_main_process:
                    self.report(progress.step, config.steps, {"loss": loss, **mean.values()})
                done = progress.step == last
                if progress.step % config.valid_every == 0 or progress.step == config.steps:
                    enough = self._validate(mean.take())
                    if enough or done:
                        break
                elif done or self._any(stopping.asked):
                    self._save()
                    break
                begin = time.perf_counter()
            self.engine.wait_for_everyone()
            self.engine.end_training()
        stopping.go_on()
        return progress

    def _batches(self, first: int, last: int) -> Iterator[Tensor]:
        """This process' share of the batches of steps `first` ... `last` - 1."""
        workers = self.recipe.data.workers
        loader = DataLoader(
            self.examples.train,
            batch_sampler=cast(Any, [self._own(step) for step in range(first, last)]),
            num_workers=workers,
            prefetch_factor=4 if workers else None,
            worker_init_fn=_prepare_worker,
            pin_memory=self.engine.device.type == "cuda",
        )
        try:
            for targets in batches(loader):
                yield targets.to(self.engine.device, non_blocking=True)
        except InputError as error:  # from a worker it comes with a traceback in its text
            cause = str(error).splitlines()[-1].removeprefix("sfi_zoo.errors.InputError: ")
            raise TrainingError(
                f"{cause}; the checkpoint in {self.out} is whole: run again to go on when it is mended"
            ) from None

    def _own(self, step: int) -> range:
        """Which examples of a step are this process' share, by their index in the whole run."""
        first = step * self.config.batch_size + self.engine.process_index * self.share
        return range(first, first + self.share)

    def _step(self, targets: Tensor) -> tuple[float, float]:
        """One step: loss and norm of the gradient, over all processes."""
        config, band, step = self.config, self.recipe.bandwidth, self.progress.step
        noise = (config.seed * 1_000_003 + step) * 4096 + self.engine.process_index
        torch.manual_seed(noise)  # in the network
        limited, rate = None, None
        if band.share:
            drawn = band_rates(config.seed, step, band.share, band.lowest, self.model.trained_rate)
            rate = drawn.sample_rate
            limited = drawn.limited(self._own(step)).to(targets.device)
            if bool(limited.any()):
                targets[limited] = band_limit(targets[limited], self.model.trained_rate, rate / 2)
        tripped, trip_rate = self._round_trips(step, limited, targets.device)
        self._set_rates(step)
        self.objective.train()
        with self.engine.autocast():
            loss = self.objective(targets, limited, rate, tripped, trip_rate).mean()
        whole = float(self.engine.reduce(loss.detach(), "mean"))
        if not math.isfinite(whole):
            raise TrainingError(
                f"the loss is {whole} at step {step + 1}; the checkpoint in {self.out} is of a step before. "
                "Lower learning_rate or clip_norm, or take precision float32"
            )
        self.engine.backward(loss)
        norm = self.engine.clip_grad_norm_(self.objective.parameters(), config.clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self.average is not None:
            self.average.update_parameters(self.model)
            self.progress.average_updates += 1
        self.progress.step += 1
        return whole, float(norm) if norm is not None else math.nan

    def _round_trips(
        self, step: int, limited: Tensor | None, device: torch.device
    ) -> tuple[Tensor | None, float | None]:
        """Which examples of a step make a round trip through another SF, and through which."""
        loss, highest = self.recipe.loss, self.model.trained_rate
        if not (loss.lee and loss.lee_share):
            return None, None
        low, high = loss.lee_rates
        if low > highest:
            raise InputError(
                f"[loss] lee_rates begin at {low:g} Hz: above F0 = {highest:g} Hz a round trip loses nothing"
            )
        drawn = band_rates(self.config.seed, step, loss.lee_share, low, min(high, highest), ROUND_TRIP)
        tripped = drawn.limited(self._own(step)).to(device)
        return tripped if limited is None else tripped & ~limited, drawn.sample_rate

    def _set_rates(self, step: int) -> None:
        factor = rate_factor(self.config, step, self.progress.factor)
        for group in self.inner_optimizer.param_groups:
            group["lr"] = group["highest"] * factor

    def _validate(self, figures: dict[str, float]) -> bool:
        """Validate, log, keep the best model, checkpoint; whether training is over."""
        config, progress = self.config, self.progress
        judged = self._averaged() or self.model
        found = validate(judged, self.examples.valid, self.engine)
        if not found.gained:
            raise TrainingError(
                f"the validation excerpts are all silent; the checkpoint in {self.out} is whole"
            )
        improvement, score = found.by_source, found.score
        if not math.isfinite(score):
            raise TrainingError(
                f"the validation score is {score} at step {progress.step}; the weights are not finite"
            )
        gained = progress.best is None or score > progress.best
        progress.best = score if gained else progress.best
        progress.stale = 0 if gained else progress.stale + 1
        if config.schedule == "plateau" and progress.stale and progress.stale % PLATEAU == 0:
            progress.factor /= 2
        if self.engine.is_main_process:
            from sfi_zoo.hub import save

            if gained:
                save(judged, self.out / MODEL)
            record = {"step": progress.step, **figures, "valid_si_sdr_improvement": improvement}
            record |= {"valid_collections": found.gained, "valid_worse_than_mixture": found.worse}
            record |= {"valid_leaked_db": found.leaked_db, "valid_score": score}
            append_record(self.out, record)  # before the checkpoint: a line too many is cut, and made again
            self._save()
        self.engine.log(
            figures | {f"valid/{k}": v for k, v in improvement.items()} | {"valid/mean": score}, progress.step
        )
        if self.report is not None and self.engine.is_main_process:
            self.report(progress.step, config.steps, figures | {"valid": score})
        return bool(config.patience) and progress.stale >= config.patience

    def _save(self) -> None:
        if self.engine.is_main_process:
            scaler = self.engine.scaler.state_dict() if self.engine.scaler is not None else {}
            state = replace(self.progress, scaler=scaler, sums=self.mean.sums, count=self.mean.count)
            save_checkpoint(
                self.out, self.model, self._averaged(), self.inner_optimizer, state, self.recipe.as_dict()
            )

    def _averaged(self) -> Separator | None:
        return None if self.average is None else cast(Separator, self.average.module)

    def _any(self, asked: bool) -> bool:
        """Whether any process was asked to stop."""
        if self.engine.num_processes == 1:
            return asked
        return bool(self.engine.reduce(torch.tensor(float(asked), device=self.engine.device), "sum") > 0)


def _prepare_worker(_: int) -> None:
    """In a worker: one thread, and signals to the group of processes are for the main one, which ends the others in order."""
    torch.set_num_threads(1)
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _first_line(error: BaseException) -> str:
    return str(error).splitlines()[0]


def _has_tensorboard() -> bool:
    from importlib.util import find_spec

    return find_spec("tensorboard") is not None
