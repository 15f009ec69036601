"use strict";
// Columns sort at a click; the table of trials is filtered by state and by words.

/** What a cell sorts by: its number where it has one, else its text; nothing goes last. */
function sortKey(row, column) {
  const cell = row.cells[column];
  const text = cell.dataset.value ?? cell.textContent.trim();
  if (text === "" || text === "-") return null;
  const number = Number(text.replace(/ %$/, ""));
  return Number.isNaN(number) ? text.toLowerCase() : number;
}

function compareKeys(a, b) {
  if (a === null || b === null) return 0;
  if (typeof a === "number" && typeof b === "number") return a - b;
  return String(a).localeCompare(String(b), undefined, { numeric: true });
}

function sortTable(table, column, descending) {
  const body = table.tBodies[0];
  const rows = [...body.rows].map((row) => [sortKey(row, column), row]);
  const known = rows.filter(([key]) => key !== null);
  known.sort(([a], [b]) => (descending ? compareKeys(b, a) : compareKeys(a, b)));
  body.append(...known.concat(rows.filter(([key]) => key === null)).map(([, row]) => row));
  [...table.tHead.rows[0].cells].forEach((head, index) => {
    if (index === column) head.setAttribute("aria-sort", descending ? "descending" : "ascending");
    else head.removeAttribute("aria-sort");
  });
}

function makeSortable(table) {
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const name = head.firstElementChild && head.firstElementChild.tagName === "SPAN" ? head.firstElementChild : null;
    const button = element("button", {
      type: "button",
      class: "sort",
      title: "Sort by this column",
      onclick: () => sortTable(table, column, head.getAttribute("aria-sort") === "ascending"),
    });
    button.textContent = (name || head).textContent;
    if (name) name.replaceWith(button);
    else head.replaceChildren(button);
  });
}

function filterTrials() {
  const state = document.getElementById("trial-state");
  const words = document.getElementById("trial-words");
  const table = document.getElementById("trial-table");
  if (!table) return;
  const count = document.getElementById("trial-count");
  const apply = () => {
    const wanted = words.value.toLowerCase();
    let shown = 0;
    for (const row of table.tBodies[0].rows) {
      const fits = (!state.value || row.dataset.state === state.value) && row.textContent.toLowerCase().includes(wanted);
      row.hidden = !fits;
      shown += fits ? 1 : 0;
    }
    count.textContent = `${shown} of ${table.tBodies[0].rows.length} trials`;
  };
  state.addEventListener("change", apply);
  words.addEventListener("input", apply);
  apply();
}
