"use strict";
// Sorting, and opening what is folded before printing. The page says everything without this script.
for (const table of document.querySelectorAll("table")) {
  const body = table.tBodies[0];
  table.tHead.querySelectorAll("th").forEach((head, place) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => sort(table, body, head, place));
  });
}

function sort(table, body, head, place) {
  const down = head.getAttribute("aria-sort") === "ascending";
  table.tHead.querySelectorAll("th").forEach((other) => other.removeAttribute("aria-sort"));
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
  const rows = [...body.rows].map((row) => [key(row.cells[place]), row]);
  rows.sort(([a], [b]) => compare(a, b, down ? -1 : 1));
  body.append(...rows.map(([, row]) => row));
  let before = null;
  for (const row of body.rows) {
    const name = row.cells[0].textContent;
    row.classList.toggle("again", name === before);
    before = name;
  }
}

function key(cell) {
  if (cell.dataset.value !== undefined) return Number(cell.dataset.value);
  const text = cell.textContent.trim();
  return text === "–" ? null : text;
}

// What is undefined stays at the end, whichever way the rest is sorted.
function compare(a, b, sign) {
  if (a === null || b === null) return (a === null) - (b === null);
  if (typeof a === "number" && typeof b === "number") return sign * (a - b);
  return sign * String(a).localeCompare(String(b), "en", { numeric: true });
}

window.addEventListener("beforeprint", () => {
  for (const folded of document.querySelectorAll("details")) folded.open = true;
});
