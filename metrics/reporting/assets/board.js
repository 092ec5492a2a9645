function sfiBoard(root) {
  const board = root.classList.contains('sfi-board') ? root : root.querySelector('.sfi-board');
  if (!board || board.dataset.ready) return;
  board.dataset.ready = 'yes';
  const told = document.createElement('div');
  told.className = 'told';
  told.hidden = true;
  told.setAttribute('role', 'tooltip');
  told.id = 'told-' + Math.random().toString(36).slice(2);
  board.append(told);
  const tell = (head, button) => {
    if (!head.dataset.meaning) return;
    told.textContent = head.dataset.meaning;
    told.hidden = false;
    button.setAttribute('aria-describedby', told.id);
    const place = head.getBoundingClientRect(), own = told.getBoundingClientRect();
    told.style.left = Math.max(8, Math.min(place.left, innerWidth - own.width - 8)) + 'px';
    told.style.top = (place.bottom + own.height + 8 < innerHeight ? place.bottom + 4 : Math.max(4, place.top - own.height - 4)) + 'px';
  };
  const hush = () => { told.hidden = true; };
  const keyOf = cell => {
    const text = cell.dataset.value ?? cell.textContent.trim();
    const number = Number.parseFloat(text.replace('−', '-').replace('≤ ', ''));
    return text === '' || text === 'n/a' ? null : Number.isNaN(number) || /[a-z]/i.test(text) ? text : number;
  };
  const compare = (a, b, sign) => {
    if (a === null || b === null) return (a === null) - (b === null); // what has no figure stays last
    if (typeof a !== typeof b) return typeof a === 'number' ? -1 : 1;
    return sign * (typeof a === 'number' ? a - b : a.localeCompare(b, 'en', { numeric: true }));
  };
  for (const table of board.querySelectorAll('table.sortable')) {
    const upper = [...table.tHead.rows[0].cells].filter(head => !head.classList.contains('group'));
    const heads = table.tHead.rows[1] ? [...upper, ...table.tHead.rows[1].cells] : upper;
    heads.forEach((head, number) => {
      const button = document.createElement('button');
      button.type = 'button';
      button.append(...head.childNodes);
      head.append(button);
      head.setAttribute('aria-sort', 'none');
      button.addEventListener('click', () => {
        const up = head.getAttribute('aria-sort') === 'ascending';
        heads.forEach(other => other.setAttribute('aria-sort', 'none'));
        head.setAttribute('aria-sort', up ? 'descending' : 'ascending');
        const rows = [...table.tBodies[0].rows].map(row => [keyOf(row.cells[number]), row]);
        rows.sort((a, b) => compare(a[0], b[0], up ? -1 : 1));
        table.tBodies[0].append(...rows.map(([, row]) => row));
      });
      for (const when of ['mouseenter', 'focusin']) head.addEventListener(when, () => tell(head, button));
      for (const when of ['mouseleave', 'focusout']) head.addEventListener(when, hush);
    });
  }
  board.addEventListener('keydown', event => { if (event.key === 'Escape') hush(); });
  const boxes = [...board.querySelectorAll('fieldset.modes input')];
  const show = () => {
    const wanted = boxes.filter(box => box.checked).map(box => box.value);
    for (const cell of board.querySelectorAll('[data-mode]')) cell.hidden = !wanted.includes(cell.dataset.mode);
    for (const head of board.querySelectorAll('th.group[data-of]')) {
      const width = head.dataset.of.split(' ').filter(mode => wanted.includes(mode)).length;
      head.hidden = width === 0;
      head.colSpan = Math.max(1, width);
    }
  };
  const narrow = board.getBoundingClientRect().width < 700;
  for (const box of boxes) {
    if (box.value.includes(':') || (narrow && box.value !== boxes[0].value)) box.checked = false;
    box.addEventListener('change', show);
  }
  show();
}
