"""The style and the script of the validation page; without the script the page shows all rows, in their order."""

from __future__ import annotations

STYLE = """
.chip.better { background:#0b5d8a } .chip.worse { background:#b3450a }
.chip.same { background:#e4e7ec; color:#1d2430 }
.chip.undecided { background:#fff; color:#3d4653; border:1px dashed #5b6675; padding:0 9px }
a.chip { text-decoration:none } .chips { display:flex; flex-wrap:wrap; gap:8px; margin:12px 0 }
.sentence { font-size:17px; line-height:1.45; max-width:80ch }
.sides { display:grid; grid-template-columns:repeat(auto-fit,minmax(min(100%,340px),1fr)); gap:0 32px }
.sides h3 { margin-top:10px } .sides ul { margin:4px 0; padding-left:20px; font-size:14px }
.chip { white-space:nowrap } .sortable td { white-space:nowrap }
.pictures { display:grid; grid-template-columns:repeat(auto-fill,minmax(min(100%,360px),1fr)); gap:8px 28px;
  align-items:start }
.pictures figure { margin:8px 0; overflow:visible } .pictures figure svg { min-width:0 }
.pictures.narrow { grid-template-columns:repeat(auto-fill,minmax(min(100%,320px),1fr)) }
.pictures figcaption b { color:var(--ink) }
.legend { display:flex; flex-wrap:wrap; gap:4px 18px; font-size:13px; margin:8px 0; padding:0; list-style:none }
.legend b { display:inline-block; min-width:1.1em; text-align:center; font-size:14px; font-weight:400 }
.matrix td { white-space:nowrap; padding:6px 8px; line-height:1.3 }
.matrix th { padding-left:8px } .matrix tbody th { color:var(--ink) }
.matrix th:first-child { position:sticky; left:0; background:var(--paper) }
.matrix td.better { background:#e6f0f6 } .matrix td.worse { background:#fbece2 } .matrix td.same { background:#f6f7f9 }
.matrix .chip { min-width:86px; font-size:10px; letter-spacing:0; padding:1px 7px }
.small { font-size:11px; color:var(--soft) }
.filters { display:flex; flex-wrap:wrap; gap:8px 16px; align-items:center; font-size:13px; margin:10px 0 }
.filters select { font:inherit; max-width:60vw } [hidden] { display:none !important }
th[aria-sort] { cursor:pointer } th[aria-sort]:hover, th[aria-sort]:focus-visible { color:var(--ink) }
th[aria-sort]::after { content:" ↕"; opacity:.45 } th[aria-sort=ascending]::after { content:" ↑"; opacity:1 }
th[aria-sort=descending]::after { content:" ↓"; opacity:1 }
h1, h3, p, figcaption, li { overflow-wrap:anywhere } code { overflow-wrap:anywhere }
.failures { border-left:4px solid #b3450a; padding-left:14px } .failures li { margin:4px 0; font-size:13px }
nav { font-size:13px; margin:6px 0 0 } nav a { margin-right:14px } a { color:#0b5d8a }
details { margin:8px 0 } summary { cursor:pointer; font-size:13px; color:var(--soft) }
@media (max-width:520px) { main { padding:12px 8px 40px } section { padding:12px 12px }
  dl { grid-template-columns:1fr } dd { margin-bottom:6px } h1 { font-size:21px } }
@page { size:A4; margin:12mm } @page wide { size:A4 landscape; margin:10mm }
@media print { main { max-width:none; padding:0 } .filters, nav { display:none } #matrices { page:wide }
  body { font-size:11px } .sentence { font-size:14px } h2, h3, .legend { break-after:avoid }
  .pictures, .pictures.narrow { grid-template-columns:repeat(3,1fr); gap:2px 14px } .world { break-inside:avoid }
  .chip.better, .chip.worse, .chip.same, .chip.undecided { color:#000; background:none; border:1px solid #000;
    min-width:0; font-size:8px; padding:0 5px }
  .chip.better, .chip.worse { border-width:2px } .chip.undecided { border-style:dashed }
  .matrix td { padding:3px 4px; print-color-adjust:exact } .small, figcaption { font-size:7.5px }
  th[aria-sort]::after { content:"" } details:not([open]) { display:none } }
"""

SCRIPT = """
(function () {
  'use strict';
  function number(cell) {
    var text = cell.getAttribute('data-value');
    return text === null ? null : text === '' ? NaN : Number(text);
  }
  function compare(a, b) {
    var x = number(a), y = number(b);
    if (x === null || y === null) { return a.textContent.localeCompare(b.textContent); }
    if (x !== x || y !== y) { return (x !== x) - (y !== y); }
    return x - y;
  }
  function undefinedLast(cell) { var x = number(cell); return x !== null && x !== x; }
  function sortBy(table, head, index) {
    var up = head.getAttribute('aria-sort') !== 'ascending', body = table.tBodies[0];
    Array.prototype.forEach.call(table.tHead.rows[0].cells, function (one) { one.setAttribute('aria-sort', 'none'); });
    head.setAttribute('aria-sort', up ? 'ascending' : 'descending');
    Array.prototype.slice.call(body.rows).map(function (row, place) { return [row, place]; }).sort(function (a, b) {
      var first = a[0].cells[index], second = b[0].cells[index], order = compare(first, second);
      if (!up && !undefinedLast(first) && !undefinedLast(second)) { order = -order; }
      return order || a[1] - b[1];
    }).forEach(function (pair) { body.appendChild(pair[0]); });
  }
  Array.prototype.forEach.call(document.querySelectorAll('table.sortable'), function (table) {
    Array.prototype.forEach.call(table.tHead.rows[0].cells, function (head, index) {
      head.setAttribute('aria-sort', 'none');
      head.tabIndex = 0;
      head.addEventListener('click', function () { sortBy(table, head, index); });
      head.addEventListener('keydown', function (event) {
        if (event.key === 'Enter' || event.key === ' ') { event.preventDefault(); sortBy(table, head, index); }
      });
    });
  });
  var bar = document.querySelector('.filters');
  if (!bar) { return; }
  var selects = Array.prototype.slice.call(bar.querySelectorAll('select'));
  function fits(element) {
    return selects.every(function (select) {
      var own = element.getAttribute('data-' + select.name);
      return !select.value || own === null || own === select.value;
    });
  }
  function apply() {
    var rows = 0, shown = 0;
    Array.prototype.forEach.call(document.querySelectorAll('[data-world],[data-outcome]'), function (element) {
      if (element.tagName === 'A') { return; }
      var fit = fits(element);
      element.hidden = !fit;
      if (element.tagName === 'TR' && element.hasAttribute('data-outcome')) { rows += 1; shown += fit; }
    });
    bar.querySelector('output').textContent = shown + ' of ' + rows + ' comparisons shown';
  }
  selects.forEach(function (select) { select.value = ''; select.addEventListener('change', apply); });
  Array.prototype.forEach.call(document.querySelectorAll('a[data-outcome]'), function (link) {
    link.addEventListener('click', function () {
      selects.forEach(function (select) {
        select.value = select.name === 'outcome' ? link.getAttribute('data-outcome') : '';
      });
      apply();
    });
  });
  bar.querySelector('button').addEventListener('click', function () {
    selects.forEach(function (select) { select.value = ''; });
    apply();
  });
  bar.hidden = false;
  apply();
}());
"""
