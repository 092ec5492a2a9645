"""The page as a program: what `sfi-zoo demo` starts. `sfi-zoo publish --kit DIR` makes a Space of it, ready to push."""

import os
import sys
import threading
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from sfi_zoo import hub
from sfi_zoo.demo.keeping import UploadsEnd, keep_sweeping
from sfi_zoo.errors import InputError
from sfi_zoo.hub.bundled import DEFAULT_MODEL
from sfi_zoo.whole_files import temporary

if TYPE_CHECKING:
    import gradio

    from sfi_zoo.models.base import Separator


TITLE = "sfi_zoo: source separation at any sampling frequency"
INTRODUCTION = f"# {TITLE}\n\nOne set of weights for every sampling frequency (SF), 4 to 192 kHz. Drop a song, hear its stems."
MODELS_KEPT = 4
LARGEST = "1gb"  # upload
STARTS = 3  # tries, on a machine that is busy
UNREACHED = (
    "localhost is not accessible",
    "startup-events",
)  # what gradio says when its own server does not answer it in time


def serve(
    host: str | None = None,
    port: int | None = None,
    share: bool = False,
    model: str = DEFAULT_MODEL,
    device: str | None = None,
    results: Path | None = None,
) -> None:
    """Serve the page until interrupted; its address is printed. Uploads and stems lie in a folder that goes at the end.

    Args:
        host: to listen on; None for GRADIO_SERVER_NAME, which a Space sets, or this machine only.
        port: None for the first free one from 7860 on.
        share: also by a public address of gradio's.
        model: bundled name, folder or Hub id, chosen at first.
        device: where to compute.
        results: folder of models' folders with scores.json, for the leaderboard; the bundled models when omitted.

    Raises:
        InputError: gradio is not installed, or no such model or folder.
        OSError: no free port, or no such host.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    with temporary() as draft:
        folder = (draft / "sfi-zoo-demo").resolve()
        folder.mkdir()
        os.environ["GRADIO_TEMP_DIR"] = str(folder)
        blocks = page(folder, model, device, results)
        sweeping = keep_sweeping(folder)
        try:
            print(started(blocks, host, port, share), flush=True)
            threading.Event().wait()
        finally:
            sweeping.set()
            blocks.close(verbose=False)


def started(blocks: "gradio.Blocks", host: str | None, port: int | None, share: bool) -> str:
    """Starts to serve a page. Where the machine is too busy to answer itself in time, it tries again.

    Returns:
        The address.

    Raises:
        InputError: it does not answer.
        OSError: no free port, or no such host.
    """
    import gradio as gr
    from starlette.middleware import Middleware

    for left in reversed(range(STARTS)):
        try:
            _, local, public = blocks.launch(
                server_name=host,
                server_port=port,
                share=share,
                theme=gr.themes.Default(
                    font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]
                ),
                footer_links=[],
                run_history=False,
                max_file_size=LARGEST,
                ssr_mode=False,
                prevent_thread_lock=True,
                quiet=True,
                app_kwargs={"middleware": [Middleware(UploadsEnd)]},
            )
        except OSError:
            raise
        except Exception as error:
            if not any(text in str(error) for text in UNREACHED):
                raise
            blocks.close(verbose=False)
            said = "the page does not answer on this machine, which may be busy"
            if not left:
                raise InputError(
                    f"{said}: tried {STARTS} times; end other programs, or check HTTP_PROXY and NO_PROXY"
                ) from None
            print(f"sfi-zoo: note: {said}; another try", file=sys.stderr, flush=True)
        else:
            return str(public or local)
    raise AssertionError("unreachable")


def page(
    folder: Path, model: str = DEFAULT_MODEL, device: str | None = None, results: Path | None = None
) -> "gradio.Blocks":
    """Two tabs: separate, and the leaderboard.

    Args:
        folder: for stems, one that gradio may serve.
        model: chosen at first; it is loaded here.
        device: where to compute.
        results: see `serve`.

    Raises:
        InputError: gradio is not installed, or no such model or folder.
    """
    if results is not None and not results.is_dir():
        raise InputError(f"--results {results}: no such folder")
    try:
        import gradio as gr
    except ImportError:
        raise InputError("the page needs gradio: pip install -e '.[demo]'") from None
    from sfi_zoo.demo.leaderboard_tab import leaderboard_tab
    from sfi_zoo.demo.separate_tab import separate_tab

    @lru_cache(MODELS_KEPT)
    def load(name: str) -> "Separator":
        return hub.load(name, device)

    load(model)
    models = list(dict.fromkeys([*hub.list_models(), model]))
    with gr.Blocks(title=TITLE, analytics_enabled=False, fill_width=True) as blocks:
        gr.Markdown(INTRODUCTION)
        with gr.Tab("Separate"):
            separate_tab(folder, models, model, load)
        with gr.Tab("Leaderboard"):
            leaderboard_tab(results or hub.BUNDLED)
    return blocks


if __name__ == "__main__":
    serve()
