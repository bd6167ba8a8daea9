// Filtering: a row or picture whose marks name another value of a chosen facet is hidden; what carries no mark
// of that facet stays.
const bar = document.getElementById("filters");
const boxes = [...bar.querySelectorAll("input[type=checkbox]")];
const marked = [...document.querySelectorAll("[data-marks]")];
const rows = marked.filter((item) => item.tagName === "TR");

/** The ticked boxes by facet. */
function ticked() {
  const chosen = new Map();
  for (const box of boxes) {
    if (box.checked) chosen.set(box.name, [...(chosen.get(box.name) ?? []), box]);
  }
  return chosen;
}

/** Tick what the address names; values that the page does not offer are ignored. */
function tick(chosen) {
  for (const box of boxes) box.checked = chosen.get(box.name)?.includes(box.value) ?? false;
}

function filter() {
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
  tell(chosen);
}

function fits(marks, wanted) {
  return [...wanted].every(([name, ids]) => {
    const own = marks.filter((mark) => mark.startsWith(name + "-"));
    return own.length === 0 || own.some((mark) => ids.has(mark));
  });
}

/** Hide what the filter leaves empty, and open the first folded block where all open ones are gone. */
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

/** Say what is shown, on the screen, to screen readers and on paper. */
function tell(chosen) {
  const left = rows.filter((row) => !row.hidden).length;
  const names = [...chosen].map(([, ticks]) => {
    const title = ticks[0].closest("details").dataset.title;
    return `${title}: ${ticks.map((box) => box.parentElement.textContent.trim()).join(", ")}`;
  });
  const counted = `${left.toLocaleString("en")} of ${rows.length.toLocaleString("en")} rows`;
  document.getElementById("shown").textContent = names.length ? `Showing ${counted}` : `All ${counted.split(" of ")[1]}`;
  document.getElementById("filtered").hidden = names.length === 0;
  document.getElementById("chosen").textContent = names.join("; ");
  for (const facet of bar.querySelectorAll("details")) {
    const ticks = chosen.get(facet.dataset.facet)?.length ?? 0;
    facet.querySelector(".ticks").textContent = ticks ? ` (${ticks})` : "";
  }
}
