"""Spectrograms that a mouse, a finger or the arrow keys read: the browser gets levels, paints them and tells the one pointed at."""

import base64
from collections.abc import Mapping
from html import escape
from typing import Any

import gradio as gr
import torch
from torch import Tensor
from torch.nn import functional

from sfi_zoo.demo.spectrograms import FLOOR_DB, Spectrogram

ROWS = 256  # at most: each is the loudest of its bins
STEPS = 255  # of level, from the floor to the loudest

_PANEL = """<figure data-seconds="{seconds}" data-nyquist="{nyquist}" data-columns="{columns}" data-rows="{rows}" data-levels="{levels}">
  <figcaption>{title}</figcaption>
  <canvas tabindex="0" role="img" aria-label="Spectrogram of {title}; arrow keys read it"></canvas>
</figure>"""

_PAGE = """<div class="spectra" data-floor="{floor}" data-loudest="{loudest}" data-top="{top}" data-trained="{trained}">
  <div class="bar">
    <label>up to <input type="range" min="0.1" max="1" step="0.01" value="1" aria-label="Highest frequency"></label>
    <output class="top"></output>
    <span class="key"><i class="own"></i>F/2</span><span class="key"><i class="trained"></i>F0/2, half the SF of the training</span>
  </div>
  <p class="told" aria-live="polite">Point at a picture to read its level.</p>
  <div class="panels">{panels}</div>
</div>"""

_STYLE = """
.bar, .told { display: flex; gap: 0.8rem; align-items: center; flex-wrap: wrap; margin: 0.3rem 0; min-height: 1.6rem; }
.bar label { display: flex; gap: 0.5rem; align-items: center; flex: 1; min-width: 9rem; }
.bar input { flex: 1; min-width: 5rem; }
.top { min-width: 5rem; }
.key i { display: inline-block; width: 1.6rem; margin-right: 0.3rem; vertical-align: middle; border-top: 2px solid #3b82f6; }
.key i.trained { border-top: 2px dashed #16a34a; }
.told { font-variant-numeric: tabular-nums; }
.panels { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 20rem), 1fr)); gap: 0.6rem; }
figure { margin: 0; min-width: 0; }
figcaption { font-weight: 600; }
canvas { display: block; width: 100%; height: 11rem; touch-action: pan-y; cursor: crosshair; }
canvas:focus-visible, input:focus-visible { outline: 2px solid var(--primary-500, #f97316); outline-offset: 2px; }
"""

# the magma colours of matplotlib (CC0) at every eighth of the scale
_SCRIPT = """
const MARKS = ['000004', '1d1147', '51127c', '832681', 'b73779', 'e75263', 'fc8961', 'fec488', 'fcfdbf']
  .map(hex => [0, 2, 4].map(i => parseInt(hex.slice(i, i + 2), 16)));
const COLOURS = Array.from({length: STEPS + 1}, (_, level) => {
  const place = level / STEPS * (MARKS.length - 1), from = Math.min(Math.floor(place), MARKS.length - 2);
  return MARKS[from].map((a, i) => a + (place - from) * (MARKS[from + 1][i] - a));
});
const [LEFT, BELOW, ABOVE] = [36, 20, 6];
const root = element.querySelector('.spectra'), slider = root.querySelector('input'), told = root.querySelector('.told');
const [floor, loudest, top, trained] = ['floor', 'loudest', 'top', 'trained'].map(name => Number(root.dataset[name]));
let at = null;
const panels = [...root.querySelectorAll('figure')].map(figure => {
  const [seconds, nyquist, columns, rows] = ['seconds', 'nyquist', 'columns', 'rows'].map(name => Number(figure.dataset[name]));
  const levels = Uint8Array.from(atob(figure.dataset.levels), letter => letter.charCodeAt(0));
  const image = new OffscreenCanvas(columns, rows), context = image.getContext('2d');
  const pixels = context.createImageData(columns, rows);
  levels.forEach((level, i) => pixels.data.set([...COLOURS[level], 255], 4 * i));
  context.putImageData(pixels, 0, 0);
  return {canvas: figure.querySelector('canvas'), name: figure.querySelector('figcaption').textContent,
          seconds, nyquist, columns, rows, levels, image};
});
const highest = () => Number(slider.value) * top;
const round = (x, of) => Number(x.toPrecision(of)).toString();
const step = span => [1, 2, 5, 10].map(k => k * 10 ** Math.floor(Math.log10(span / 4))).find(s => span / s <= 5);
const paint = panel => {
  const {canvas, image, nyquist} = panel, scale = window.devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  canvas.width = width * scale; canvas.height = height * scale;
  const draw = canvas.getContext('2d'), [w, h] = [width - LEFT - 4, height - BELOW - ABOVE], limit = highest();
  const y = kilohertz => ABOVE + h * (1 - kilohertz / limit), x = seconds => LEFT + w * seconds / panel.seconds;
  draw.scale(scale, scale);
  draw.fillStyle = '#8884'; draw.fillRect(LEFT, ABOVE, w, h);
  draw.save(); draw.beginPath(); draw.rect(LEFT, ABOVE, w, h); draw.clip();
  draw.imageSmoothingEnabled = false;
  draw.drawImage(image, LEFT, y(nyquist), w, h * nyquist / limit);
  for (const [kilohertz, colour, dash] of [[nyquist, '#3b82f6', []], [trained, '#16a34a', [6, 4]]]) {
    draw.strokeStyle = colour; draw.lineWidth = 2; draw.setLineDash(dash);
    draw.beginPath(); draw.moveTo(LEFT, y(kilohertz)); draw.lineTo(LEFT + w, y(kilohertz)); draw.stroke();
  }
  draw.setLineDash([]); draw.lineWidth = 1;
  if (at) {
    draw.strokeStyle = '#ffffffcc';
    draw.beginPath(); draw.moveTo(x(at.seconds), ABOVE); draw.lineTo(x(at.seconds), ABOVE + h);
    draw.moveTo(LEFT, y(at.kilohertz)); draw.lineTo(LEFT + w, y(at.kilohertz)); draw.stroke();
  }
  draw.restore();
  draw.fillStyle = getComputedStyle(canvas).color; draw.font = '11px system-ui, sans-serif';
  draw.textAlign = 'right'; draw.textBaseline = 'middle';
  for (let k = 0, by = step(limit); k <= limit; k += by) draw.fillText(round(k, 3), LEFT - 4, Math.max(y(k), 8));
  draw.textAlign = 'center'; draw.textBaseline = 'top';
  const by = step(panel.seconds);
  for (let s = by; s < 0.97 * panel.seconds; s += by) draw.fillText(round(s, 3) + ' s', x(s), height - BELOW + 4);
  draw.textAlign = 'left'; draw.fillText('kHz', 2, height - BELOW + 4);
};
const repaint = () => { root.querySelector('.top').textContent = round(highest(), 3) + ' kHz'; panels.forEach(paint); };
const tell = (panel, seconds, kilohertz) => {
  at = {panel, seconds: Math.min(Math.max(seconds, 0), panel.seconds), kilohertz: Math.min(Math.max(kilohertz, 0), highest())};
  const column = Math.min(Math.floor(at.seconds / panel.seconds * panel.columns), panel.columns - 1);
  const row = Math.floor((1 - at.kilohertz / panel.nyquist) * panel.rows);
  const level = panel.levels[Math.min(row, panel.rows - 1) * panel.columns + column];
  const seen = level ? `${(floor + level / STEPS * (loudest - floor)).toFixed(0)} dB` : `under ${floor} dB`;
  const decibels = row < 0 ? 'nothing, above F/2' : seen;
  told.textContent = `${panel.name}: ${at.seconds.toFixed(2)} s, ${at.kilohertz.toFixed(2)} kHz: ${decibels}`;
  panels.forEach(paint);
};
for (const panel of panels) {
  const point = event => {
    const box = panel.canvas.getBoundingClientRect(), [w, h] = [box.width - LEFT - 4, box.height - BELOW - ABOVE];
    tell(panel, (event.clientX - box.left - LEFT) / w * panel.seconds, (1 - (event.clientY - box.top - ABOVE) / h) * highest());
  };
  panel.canvas.addEventListener('pointermove', point);
  panel.canvas.addEventListener('pointerdown', point);
  panel.canvas.addEventListener('keydown', event => {
    const move = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1]}[event.key];
    if (!move) return;
    event.preventDefault();
    const from = at || {seconds: panel.seconds / 2, kilohertz: highest() / 2};
    tell(panel, from.seconds + move[0] * panel.seconds / 100, from.kilohertz + move[1] * highest() / 50);
  });
}
slider.addEventListener('input', repaint);
new ResizeObserver(repaint).observe(root);
repaint();
""".replace("STEPS", str(STEPS))


def spectrogram_view(html: str) -> Any:
    """Lays them out, within `gr.Blocks`.

    Args:
        html: of `spectrograms_html`.
    """
    return gr.HTML(html, css_template=_STYLE, js_on_load=_SCRIPT, elem_id="spectrograms")


def spectrograms_html(panels: Mapping[str, Spectrogram], trained_rate: float) -> str:
    """A panel for each, all with one frequency axis and one scale of levels; lines at F / 2 and F0 / 2.

    Args:
        panels: title -> levels; titles are text, whatever is in them.
        trained_rate: F0 in Hz.
    """
    loudest = max(FLOOR_DB + 1, *(float(panel.decibels.max()) for panel in panels.values()))
    drawn = [_panel(title, panel, loudest) for title, panel in panels.items()]
    top = 1.08 * max(panel.sample_rate for panel in panels.values()) / 2000
    numbers = {"floor": FLOOR_DB, "loudest": loudest, "top": top, "trained": trained_rate / 2000}
    return _PAGE.format(panels="\n".join(drawn), **{name: f"{x:.9g}" for name, x in numbers.items()})


def _panel(title: str, panel: Spectrogram, loudest: float) -> str:
    levels = levels_of(panel.decibels, loudest)
    rows, columns = levels.shape
    return _PANEL.format(
        title=escape(f"{title}, {panel.sample_rate} Hz", quote=True),
        seconds=f"{panel.seconds:.9g}",
        nyquist=f"{panel.sample_rate / 2000:.9g}",
        columns=columns,
        rows=rows,
        levels=base64.b64encode(levels.numpy().tobytes()).decode("ascii"),
    )


def levels_of(decibels: Tensor, loudest: float) -> Tensor:
    """(bins, columns) in dB -> (rows, columns) in steps of `STEPS`, uint8, the highest frequency first."""
    rows = min(ROWS, len(decibels))
    pooled = functional.adaptive_max_pool2d(decibels[None], (rows, decibels.shape[1]))[0]
    steps = (pooled - FLOOR_DB) / (loudest - FLOOR_DB) * STEPS
    return steps.round().clamp(0, STEPS).to(torch.uint8).flip(0).contiguous()
