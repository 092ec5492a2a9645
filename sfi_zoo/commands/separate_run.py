"""What `sfi-zoo separate` does once its options are known to be sound."""

import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from sfi_zoo import hub
from sfi_zoo.commands.printing import remark, say
from sfi_zoo.commands.separate_shared import Claim, clear_claims, in_turn, shared_out
from sfi_zoo.commands.shared import PROGRAM, available, complain
from sfi_zoo.errors import InputError
from sfi_zoo.progress_bar import ProgressBar
from sfi_zoo.separation.files import FilePlan, SeparatedFile, plan_file, separate_planned
from sfi_zoo.separation.made_by import name_of
from sfi_zoo.separation.naming import Found
from sfi_zoo.separation.options import SeparationOptions
from sfi_zoo.whole_files import sweep, temporary

STANDARD = Path("-")
_STDIN = ".sfi-zoo-stdin"  # the folder where what comes by standard input waits


@dataclass(frozen=True)
class Job:
    """The options of the command, by their names."""

    models: Sequence[str]
    out: Path
    mode: str
    resampler: str | None
    device: str | None
    threads: int | None
    sample_rate: int | None
    format: str | None
    subtype: str | None
    mp3_bitrate: int | None
    stems: Sequence[str] | None
    filename: str
    clip: str
    overwrite: bool
    skip_existing: bool
    options: SeparationOptions
    quiet: bool
    rank: int
    world_size: int

    def plan(self, found: Found, sources: Sequence[str], out: Path) -> FilePlan:
        """Where the stems of a file go."""
        return plan_file(
            found,
            out,
            sources,
            sample_rate=self.sample_rate,
            format=self.format,
            subtype=self.subtype,
            mp3_bitrate=self.mp3_bitrate,
            stems=self.stems,
            filename=self.filename,
            model="+".join(self.models),
            made_by=name_of(self.models) + (f", {self.mode}" if self.mode != "native" else ""),
            options=self.options,
        )


def separate_all(
    job: Job, files: Sequence[Found], *, from_standard_input: bool = False
) -> list[dict[str, Any]]:
    """Separates files, one after the other, and says what became of each."""
    if job.threads is not None:
        import torch

        torch.set_num_threads(job.threads)
    separator = _separator(job)
    with _sources(files, from_standard_input) as sources:
        if job.out == STANDARD:
            return [_to_standard_output(job, separator, sources[0])]
        sweep(job.out)
        if not (job.overwrite or job.skip_existing or job.world_size > 1):
            _refuse_existing(job, separator, sources)
        if job.world_size > 1 and not job.overwrite:
            return _shared(job, separator, sources)
        first, stop = (-(-len(sources) * part // job.world_size) for part in (job.rank, job.rank + 1))
        return [_report(job, separator, found) for found in sources[first:stop]]


def _separator(job: Job) -> nn.Module:
    device = available(job.device)
    models: list[nn.Module] = [hub.load(name, device=device) for name in job.models]
    if job.mode != "native":
        from sfi_zoo.models.adaptation import Adapted

        models = [Adapted(model, job.mode, job.resampler or "soxr") for model in models]  # type: ignore[arg-type]
    if len(models) == 1:
        return models[0]
    from sfi_zoo.separation.averaged import Averaged

    return Averaged(models).eval()


@contextmanager
def _sources(files: Sequence[Found], from_standard_input: bool) -> Iterator[Sequence[Found]]:
    """The files; what comes by standard input is one called `stdin`, until the block ends."""
    if not from_standard_input:
        yield files
        return
    with temporary() as folder:
        path = folder / _STDIN / "stdin"
        path.parent.mkdir()
        with path.open("wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file)
        yield [Found(path)]


def _told(found: Found, error: Exception) -> Exception:
    """An error that names standard input as such."""
    if found.path.parent.name == _STDIN:
        return InputError(str(error).replace(str(found.path), "standard input"))
    return error


def _refuse_existing(job: Job, separator: nn.Module, files: Sequence[Found]) -> None:
    """Before any work: nothing is replaced without a word."""
    there: list[str] = []
    count = 0
    for found in files:
        try:
            plan = job.plan(found, separator.sources, job.out)  # type: ignore[arg-type]
        except (InputError, OSError):
            continue  # told when it is its turn
        existing = [f"{path}: is of another model, {model}" for path, model in plan.others]
        existing += [f"{path}: is there already" for path in plan.there]
        there += existing[:1]
        count += bool(existing)
    if there:
        more = f" (and stems of {count - 1} more files)" if count > 1 else ""
        raise InputError(
            f"{there[0]}{more}; --skip-existing goes on with the others, --overwrite replaces,"
            " --filename '{model}/{track}/{stem}.{ext}' keeps both"
        )


def _shared(job: Job, separator: nn.Module, files: Sequence[Found]) -> list[dict[str, Any]]:
    """The files that fall to this process, and those that another one left when it ended."""
    results: list[dict[str, Any]] = []
    own = range(*(-(-len(files) * part // job.world_size) for part in (job.rank, job.rank + 1)))
    claims: dict[int, Claim] = {}

    def take(number: int) -> bool | None:
        claim = Claim(job.out, str(files[number].path))
        if not claim.take():
            return False
        try:
            plan = job.plan(files[number], separator.sources, job.out)  # type: ignore[arg-type]
            plan.check_resumable()
            left = not plan.complete
        except (InputError, OSError):
            left = number in own  # who has it in its share tells what is wrong with it
        if not left:
            claim.release()
            return None
        claims[number] = claim
        return True

    for number in in_turn(shared_out(len(files), job.rank, job.world_size), take):
        results.append(_report(job, separator, files[number]))
        claims.pop(number).release()
    clear_claims(job.out)
    return results


def _report(job: Job, separator: nn.Module, found: Found) -> dict[str, Any]:
    """What became of a file, for --json; paths and notes are printed."""
    try:
        plan = job.plan(found, separator.sources, job.out)  # type: ignore[arg-type]
        if not job.overwrite:
            plan.check_resumable()
        if job.skip_existing and plan.complete:
            return {"file": str(found.path), "skipped": [str(path) for path in plan.paths]}
        done = _separated(job, separator, plan)
    except (InputError, OSError) as error:
        return {"file": str(found.path), "error": complain(_told(found, error))}
    stems_at = {
        name: str(report.path) for name, report in zip(_names(job, separator, plan), done.stems, strict=True)
    }
    if not job.quiet:
        say(*stems_at.values())
    return {
        "file": str(found.path),
        "sample_rate": done.sample_rate,
        "stems": stems_at,
        "notes": done.notes,
    }


def _names(job: Job, separator: nn.Module, plan: FilePlan) -> list[str]:
    from sfi_zoo.separation.consistency import Finish

    names = Finish(separator.sources, job.options).names  # type: ignore[arg-type]
    return [names[row] for row in plan.rows]


def _separated(job: Job, separator: nn.Module, plan: FilePlan) -> SeparatedFile:
    with ProgressBar(plan.info.path.name) as bar:
        done = separate_planned(separator, plan, clip=job.clip, options=job.options, progress=bar.update)
    for note in done.notes:
        remark(f"{PROGRAM}: note: {note}")
    return done


def _to_standard_output(job: Job, separator: nn.Module, found: Found) -> dict[str, Any]:
    """One stem, through a temporary file: a wav begins with its length."""
    with temporary() as folder:
        try:
            plan = job.plan(found, separator.sources, folder)  # type: ignore[arg-type]
            done = _separated(job, separator, plan)
        except (InputError, OSError) as error:
            return {"file": str(found.path), "error": complain(_told(found, error))}
        with done.stems[0].path.open("rb") as file:
            shutil.copyfileobj(file, sys.stdout.buffer)
        sys.stdout.buffer.flush()
    return {"file": str(found.path)}
