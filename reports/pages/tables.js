// Sorting. The page is complete without this script.
const original = new Map(); // table -> its rows as the report orders them
const sorted = new Map(); // table -> { place, down }

/** Make the tables of a section sortable, and name the column of each entry for narrow screens. */
function registerTable(table) {
  original.set(table, [...table.tBodies[0].rows]);
  const titles = [...table.tHead.rows[0].cells].map((head) => head.textContent.trim());
  const style = document.createElement("style");
  style.textContent = `@media screen and (max-width: 78rem) {${titles.map((title, place) =>
    `#${CSS.escape(table.id)} td:nth-child(${place + 1})::before { content: ${JSON.stringify(title)} ": "; }`).join("\n")}}`;
  table.before(style);
  [...table.tHead.rows[0].cells].forEach((head, place) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      sort(table, place, head.getAttribute("aria-sort") === "ascending");
      remember();
    });
  });
}

function sort(table, place, down) {
  const rows = [...table.tBodies[0].rows].map((row) => [key(row.cells[place]), row]);
  rows.sort(([a], [b]) => compare(a, b, down ? -1 : 1));
  mark(table, place, down);
  sorted.set(table, { place, down });
  arrange(table, rows.map(([, row]) => row));
}

function unsort(table) {
  mark(table, -1, false);
  if (sorted.delete(table)) arrange(table, original.get(table));
}

function mark(table, place, down) {
  [...table.tHead.rows[0].cells].forEach((head, at) => {
    if (at === place) head.setAttribute("aria-sort", down ? "descending" : "ascending");
    else head.removeAttribute("aria-sort");
  });
}

function arrange(table, rows) {
  table.tBodies[0].append(...rows);
  group(table);
}

/** Gray the first entry of rows where it repeats that of the visible row before. */
function group(table) {
  let before = null;
  for (const row of table.tBodies[0].rows) {
    if (row.hidden) continue;
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

// Undefined values stay at the end in both directions.
function compare(a, b, sign) {
  if (a === null || b === null) return (a === null) - (b === null);
  if (typeof a === "number" && typeof b === "number") return sign * (a - b);
  return sign * String(a).localeCompare(String(b), "en", { numeric: true });
}

/** Sort by the address: table:column:a or :d; unknown tables and columns are ignored. */
function sortAs(orders) {
  const wanted = new Map();
  for (const order of orders) {
    const [, id, place, way] = /^(.+):(\d{1,3}):([ad])$/.exec(order) ?? [];
    const table = document.getElementById(id);
    if (original.has(table) && Number(place) < table.tHead.rows[0].cells.length) {
      wanted.set(table, { place: Number(place), down: way === "d" });
    }
  }
  for (const table of original.keys()) {
    const order = wanted.get(table);
    if (order) sort(table, order.place, order.down);
    else if (sorted.has(table)) unsort(table);
  }
}

function orders() {
  return [...sorted].map(([table, { place, down }]) => `${table.id}:${place}:${down ? "d" : "a"}`);
}
