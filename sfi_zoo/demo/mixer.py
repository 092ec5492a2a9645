"""A mixer: the stems of a song played together, each with a level, mute and solo. One HTML component, its script below."""

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

import gradio as gr

FILES = "/gradio_api/file="
MOST_DRIFT = 0.04  # seconds that players may be apart before they are set to the first one's place

_ROW = """<div class="row" data-stem="{name}">
  <span class="name">{name}</span>
  <button type="button" data-does="mute" aria-pressed="false" aria-label="Mute {name}">mute</button>
  <button type="button" data-does="solo" aria-pressed="false" aria-label="Solo {name}">solo</button>
  <input type="range" data-does="level" min="0" max="1" step="0.01" value="1" aria-label="Level of {name}">
  <audio preload="auto" src="{source}"></audio>
</div>"""

_PAGE = """<div class="mixer" role="group" aria-label="Mixer">
  <div class="row">
    <button type="button" data-does="play" aria-pressed="false" class="play">Play together</button>
    <input type="range" data-does="seek" min="0" max="1" step="0.001" value="0" aria-label="Place in the song">
  </div>
  {rows}
</div>"""

_STYLE = """
.mixer { display: flex; flex-direction: column; gap: 0.5rem; padding: 0.5rem 0; }
.row { display: flex; align-items: center; gap: 0.5rem; flex-wrap: wrap; }
.name { width: 5rem; }
.row input[type=range] { flex: 1; min-width: 6rem; }
button { padding: 0.2rem 0.7rem; border: 1px solid currentColor; border-radius: 0.3rem; background: transparent; cursor: pointer; }
button[aria-pressed=true] { background: var(--primary-500, #f97316); color: white; }
button:focus-visible, input:focus-visible { outline: 2px solid var(--primary-500, #f97316); outline-offset: 2px; }
"""

_SCRIPT = """
const rows = () => [...element.querySelectorAll('[data-stem]')];
const players = () => rows().map(row => row.querySelector('audio'));
const pressed = (row, does) => row.querySelector(`[data-does=${does}]`).getAttribute('aria-pressed') === 'true';
const toggle = button => button.setAttribute('aria-pressed', String(button.getAttribute('aria-pressed') !== 'true'));
const play = () => element.querySelector('[data-does=play]');
const seek = () => element.querySelector('[data-does=seek]');
const mix = () => {
  const solo = rows().some(row => pressed(row, 'solo'));
  for (const row of rows()) {
    const player = row.querySelector('audio');
    player.muted = pressed(row, 'mute') || (solo && !pressed(row, 'solo'));
    player.volume = Number(row.querySelector('[data-does=level]').value);
  }
};
const go = on => {
  play().setAttribute('aria-pressed', String(on));
  play().textContent = on ? 'Pause' : 'Play together';
  const place = players()[0].currentTime;
  for (const player of players()) {
    player.currentTime = place;
    on ? player.play() : player.pause();
  }
};
element.addEventListener('click', event => {
  const button = event.target.closest('button[data-does]');
  if (!button) return;
  if (button.dataset.does === 'play') go(button.getAttribute('aria-pressed') !== 'true');
  else { toggle(button); mix(); }
});
element.addEventListener('input', event => {
  if (event.target.dataset.does !== 'seek') return mix();
  for (const player of players()) player.currentTime = Number(event.target.value) * (player.duration || 0);
});
const follow = event => {
  const [first, ...others] = players();
  if (event.target !== first) return;
  seek().value = first.duration ? first.currentTime / first.duration : 0;
  for (const player of others) if (Math.abs(player.currentTime - first.currentTime) > DRIFT) player.currentTime = first.currentTime;
};
element.addEventListener('timeupdate', follow, true);
element.addEventListener('ended', event => { if (event.target === players()[0]) go(false); }, true);
""".replace("DRIFT", str(MOST_DRIFT))


def mixer(stems: Mapping[str, str | Path]) -> Any:
    """Lays the mixer out, within `gr.Blocks`.

    Args:
        stems: name -> file that the page may serve.
    """
    return gr.HTML(mixer_html(stems), css_template=_STYLE, js_on_load=_SCRIPT, elem_id="mixer")


def mixer_html(stems: Mapping[str, str | Path]) -> str:
    """The mixer's elements; names of stems are text, whatever is in them."""
    rows = [
        _ROW.format(name=escape(name, quote=True), source=escape(FILES + quote(str(path)), quote=True))
        for name, path in stems.items()
    ]
    return _PAGE.format(rows="\n  ".join(rows))
