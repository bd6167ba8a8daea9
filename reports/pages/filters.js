// Filters: a row or picture with marks of a chosen facet is hidden unless one is chosen; without marks it stays.
const bar = document.getElementById("filters");
const boxes = [...bar.querySelectorAll("input[type=checkbox]")];
const marked = []; // rows and pictures of the sections that are unpacked
const rows = [];

/** The ticked boxes by facet. */
function ticked() {
  const chosen = new Map();
  for (const box of boxes) {
    if (box.checked) chosen.set(box.name, [...(chosen.get(box.name) ?? []), box]);
  }
  return chosen;
}

/** Tick the boxes named in the address; unknown values are ignored. */
function tick(chosen) {
  for (const box of boxes) box.checked = chosen.get(box.name)?.includes(box.value) ?? false;
}

function filter() {
  applyMarks();
  drawBoard();
}

/** Hide the rows and pictures of the sections that the ticked boxes leave out. */
function applyMarks() {
  const chosen = ticked();
  const wanted = new Map([...chosen].map(([name, ticks]) => [name, new Set(ticks.map((box) => box.id))]));
  const verdicts = new Map(); // thousands of rows share a few hundred different marks
  for (const item of marked) {
    const marks = item.dataset.marks;
    if (!verdicts.has(marks)) verdicts.set(marks, fits(marks.split(" "), wanted));
    item.hidden = !verdicts.get(marks);
  }
  for (const table of original.keys()) group(table);
  fold(chosen.size > 0);
  report(chosen);
}

function fits(marks, wanted) {
  return [...wanted].every(([name, ids]) => {
    const own = marks.filter((mark) => mark.startsWith(name + "-"));
    return own.length === 0 || own.some((mark) => ids.has(mark));
  });
}

/** Hide empty blocks and parts; open the first folded block if no open one is left. */
function fold(filtered) {
  for (const block of document.querySelectorAll(".block")) {
    const items = [...block.querySelectorAll("tbody tr, .panel")];
    block.hidden = items.length > 0 && items.every((item) => item.hidden);
  }
  for (const part of document.querySelectorAll(".part")) {
    const rest = [...part.children].filter((child) => child.tagName !== "H3");
    part.hidden = rest.length > 0 && rest.every((child) => child.hidden);
    const left = [...part.querySelectorAll(":scope > .block:not([hidden])")];
    if (filtered && left.length && left.every((block) => block.matches("details:not([open])"))) left[0].open = true;
  }
  for (const nothing of document.querySelectorAll(".nothing")) {
    const blocks = [...nothing.parentElement.querySelectorAll(".block")];
    nothing.hidden = blocks.length === 0 || blocks.some((block) => !block.hidden);
  }
}

/** Report the filter and the number of rows on the screen, to screen readers and on paper. */
function report(chosen) {
  const left = rows.filter((row) => !row.hidden).length;
  const names = [...chosen].map(([, ticks]) => {
    const title = ticks[0].closest("details").dataset.title;
    return `${title}: ${ticks.map((box) => box.parentElement.textContent.trim()).join(", ")}`;
  });
  const counted = `${left.toLocaleString("en")} of ${rows.length.toLocaleString("en")} rows`;
  document.getElementById("shown").textContent = names.length ? `Showing ${counted}` : "";
  document.getElementById("filtered").hidden = names.length === 0;
  document.getElementById("chosen").textContent = names.join("; ");
  for (const facet of bar.querySelectorAll("details")) {
    const ticks = chosen.get(facet.dataset.facet)?.length ?? 0;
    facet.querySelector(".ticks").textContent = ticks ? ` (${ticks})` : "";
  }
}
