// Sorts, filters and unfolds; the page is whole without it.
"use strict";
(() => {
  const controls = document.querySelector("form.controls");
  const name = document.getElementById("filter-name");
  const verdict = document.getElementById("filter-verdict");
  const count = document.getElementById("filter-count");
  const openAll = document.getElementById("open-all");
  const folded = [...document.querySelectorAll("details.experiment")];
  const rows = [...document.querySelectorAll("table.sortable tbody tr")];

  function filter() {
    const wanted = name.value.toLowerCase();
    let shown = 0;
    for (const each of [...rows, ...folded]) {
      const fits = each.dataset.name.toLowerCase().includes(wanted) &&
        (!verdict.value || each.dataset.verdict === verdict.value);
      each.hidden = !fits;
      if (fits && each.tagName === "TR") shown += 1;
    }
    count.textContent = `${shown} of ${rows.length} shown`;
  }

  function number(text) {
    const found = text.replace(/,/g, "").replace(/\u2212/g, "-").match(/[-+]?\d+(\.\d+)?/);
    return found ? Number(found[0]) : Number.NEGATIVE_INFINITY;
  }

  function sort(table, column, button) {
    const heads = [...table.tHead.rows[0].cells];
    const descending = heads[column].getAttribute("aria-sort") === "ascending";
    heads.forEach((head) => head.removeAttribute("aria-sort"));
    heads[column].setAttribute("aria-sort", descending ? "descending" : "ascending");
    const key = (row) => {
      const cell = row.cells[column];
      const drawn = cell.querySelector("svg title");
      return (drawn ? drawn.textContent.replace(/^[^:]*: /, "") : cell.textContent).trim();
    };
    const all = [...table.tBodies[0].rows];
    const isText = all.every((row) => number(key(row)) === Number.NEGATIVE_INFINITY) || column < 2;
    all.sort((a, b) => isText ? key(a).localeCompare(key(b)) : number(key(a)) - number(key(b)));
    if (descending) all.reverse();
    table.tBodies[0].append(...all);
    button.focus();
  }

  for (const table of document.querySelectorAll("table.sortable")) {
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = head.textContent;
      button.addEventListener("click", () => sort(table, column, button));
      head.replaceChildren(button);
    });
  }

  function reveal() {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!target) return;
    if (target.hidden) { name.value = ""; verdict.value = ""; filter(); }
    if (target.tagName === "DETAILS") { target.open = true; target.scrollIntoView(); }
  }

  if (controls && name) {
    controls.hidden = false;
    controls.addEventListener("submit", (event) => event.preventDefault());
    name.addEventListener("input", filter);
    verdict.addEventListener("change", filter);
    openAll.addEventListener("click", () => {
      const open = !folded.every((each) => each.open || each.hidden);
      folded.forEach((each) => { if (!each.hidden) each.open = open; });
      openAll.textContent = open ? "Close all" : "Open all";
    });
    filter();
  }
  addEventListener("hashchange", reveal);
  reveal();
})();
