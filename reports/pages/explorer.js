// The top of the page: scores, differences and verdicts of two inits, drawn from the data in the page.
const data = JSON.parse(document.getElementById("data")?.textContent || "null");
const TASK = 0, ARCH = 1, PROTOCOL = 2, LABELS = 3, INIT = 4, TRAIN = 5, VAL = 6, SEEDS = 7, SCORES = 8, KEYS = 9;
const MOST_PANELS = 40, DASHES = ["none", "6 2", "2 2", "7 2 2 2"];
const SVG = "http://www.w3.org/2000/svg";
const views = [...document.querySelectorAll("#views select")];
const view = Object.fromEntries(views.map((select) => [select.id, select]));
const tip = document.getElementById("tip");
const signed = (value) => {
  const digits = value === null ? "–" : Math.abs(value).toFixed(3);
  return value === null || Number(digits) === 0 ? digits : (value < 0 ? "−" : "+") + digits;
};
const plain = (value) => (value === null || value === undefined ? "–" : value.toFixed(3).replace("-", "−"));
const share = (place) => data.labels[place][1];

/** Make an element; attributes starting with "on" are listeners, children are texts or elements. */
function element(name, attributes = {}, ...children) {
  const drawn = ["svg", "g", "path", "rect", "line", "text", "circle", "polygon"].includes(name);
  const made = drawn ? document.createElementNS(SVG, name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value !== null) made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

const chosenOf = (facet) => new Set(boxes.filter((box) => box.name === facet && box.checked).map((box) => box.value));
const taskOf = (row) => data.task[row[TASK]];
const withoutSize = (task) => task.split(" (")[0]; // a task of several image sizes has its size behind the name
const pairOf = (part = "name") => [view.first, view.second].map((select) => data.inits[select.value][part]);

/** Rows of the chosen network and protocol whose task the filters leave. */
function shownRows() {
  const tasks = chosenOf("task"), modalities = chosenOf("modality");
  const kept = (name) => {
    const task = withoutSize(name);
    return (!tasks.size || tasks.has(task)) && (!modalities.size || modalities.has(data.modalities[task]));
  };
  return data.rows.filter(
    (row) => row[ARCH] === Number(view.network.value) && row[PROTOCOL] === Number(view.protocol.value) && kept(taskOf(row)),
  );
}

/** Pairs of rows of the two chosen inits, the most labels first within a task. */
function comparisons() {
  const [a, b] = pairOf();
  const label = view.labels.value;
  const places = new Map();
  for (const row of shownRows()) {
    if (label !== "all" && row[LABELS] !== Number(label)) continue;
    const init = data.inits[row[INIT]].name;
    const key = `${row[TASK]} ${row[LABELS]}`;
    if (init === a || init === b) places.set(key, { ...places.get(key), [init === a ? "a" : "b"]: row });
  }
  const found = [...places.values()].filter((pair) => pair.a && pair.b).map(judged);
  return found.sort((x, y) => x.a[TASK] - y.a[TASK] || data.labels[y.a[LABELS]][0] - data.labels[x.a[LABELS]][0]);
}

/** Add difference, interval and verdict, seen from the first init; a metric without verdicts keeps the flags. */
function judged(pair) {
  const metric = Number(view.metric.value);
  const [ours, theirs] = [pair.a, pair.b].map((row) => data.rows.indexOf(row));
  const scores = [pair.a, pair.b].map((row) => row[SCORES][metric]);
  const own = verdictsBy.get(data.metrics[metric].name);
  const list = own ?? [...verdictsBy.values()][0];
  const same = list.get(`${ours} ${theirs}`), facts = same ?? list.get(`${theirs} ${ours}`) ?? null;
  const excluded = facts?.[11] ?? "";
  const found = { ...pair, scores, facts, own: Boolean(own && facts), excluded };
  if (!found.own) {
    const difference = scores[0] && scores[1] ? scores[0][0] - scores[1][0] : null;
    return { ...found, difference, ends: [null, null], verdict: "" };
  }
  const [, , difference, low, high, verdict] = facts;
  const minus = (value) => (value === null ? null : -value);
  const name = same ? verdict : ({ better: "worse", worse: "better" }[verdict] ?? verdict);
  return { ...found, difference: same ? difference : minus(difference), ends: same ? [low, high] : [minus(high), minus(low)], verdict: excluded ? "" : name };
}
const verdictsBy = new Map(
  Object.entries(data?.verdicts ?? {}).map(([name, list]) => [name, new Map(list.map((of) => [`${of[0]} ${of[1]}`, of]))]),
);

function drawTable() {
  const found = comparisons();
  const [a, b] = pairOf();
  const title = data.metrics[view.metric.value].title;
  const reach = reachOf(found);
  const heads = [["Task", ""], ["Train labels", "num wide"], [a, "num init"], [b, "num init"], ["", "wide"], ["Difference", "num"], ["Verdict", ""]];
  const head = element("tr", {}, ...heads.map(([text, type], place) =>
    element("th", { scope: "col", class: type, title: type.endsWith("init") ? text : null }, place === 4 ? axis(reach) : text)));
  const body = found.flatMap((one, place) => tableRow(one, found[place - 1], reach));
  const apart = found.some((one) => one.verdict === "undecided" && one.ends[0] * one.ends[1] > 0);
  const what = [
    `${a} against ${b}: test ${title}, ${data.protocol[view.protocol.value]}${view.labels.value === "all" ? "" : `, ${share(view.labels.value)} of the labels`}`,
    apart ? "verdicts allow for the number of tasks, intervals do not" : "",
    Number(view.metric.value) ? `the headline is about ${data.metrics[0].title}` : "",
  ].filter(Boolean).join("; ");
  const table = element("table", { id: "board-table" }, element("caption", {}, what),
    element("thead", {}, head), element("tbody", {}, ...body), element("tfoot", {}, ...summaryRows()));
  const cure = a === b ? "Choose two different inits to compare." : `${a} and ${b} have no common result here: choose other labels or another protocol, or reset the filters.`;
  document.getElementById("scores").replaceChildren(found.length ? table : element("p", { class: "nothing" }, cure));
  if (found.length) document.getElementById("scores").append(toolbar({ CSV: () => saveComparisons(found) }));
}

/** Labels saved and cost of the two inits with this protocol and network, with links to their sections. */
function summaryRows() {
  const pair = pairOf("bare"), place = [data.protocol[view.protocol.value], data.arch[view.network.value]];
  const [labels, cost] = data.summaries.find((one) => pair.every((name) => one.slice(0, 2).includes(name)) && place.every((name, at) => one[2 + at] === name))?.slice(4) ?? [];
  return [["labels-saved", "Labels saved", labels], ["cost", "Cost", cost]].filter(([, , text]) => text).map(([id, title, text]) =>
    element("tr", {}, element("th", { scope: "row" }, document.getElementById(id) ? element("a", { href: `#${id}` }, title) : title), element("td", { colspan: 6 }, text)));
}

/** Largest difference that an axis of these comparisons shows, on both sides of 0. */
function reachOf(found) {
  const ends = found.flatMap((one) => [one.difference, ...one.ends]).filter((value) => value !== null);
  return Math.max(2 * data.margin, ...ends.map(Math.abs)) * 1.05;
}

/** Save the comparisons that the table shows, with their setting, in full precision. */
function saveComparisons(found) {
  const head = ["task", "network", "protocol", "labels", "train_labels", "val_labels", "init_a", "init_b", "metric", "score_a", "score_b", "difference", "low", "high", "verdict", "seeds", "test_images"];
  const lines = found.map((one) => [
    taskOf(one.a), data.arch[one.a[ARCH]], data.protocol[one.a[PROTOCOL]], data.labels[one.a[LABELS]][0], one.a[TRAIN], one.a[VAL],
    ...pairOf(), data.metrics[view.metric.value].name, ...one.scores.map((score) => score?.[0]), one.difference, ...one.ends,
    one.excluded || one.verdict, one.own ? one.facts[6] : "", one.own ? one.facts[7] : "",
  ]);
  saveRows("comparisons", [head, ...lines]);
}

function axis(reach) {
  return element("span", { class: "axis" }, element("span", {}, `−${reach.toFixed(2)}`),
    element("span", {}, "0"), element("span", {}, `+${reach.toFixed(2)}`));
}

function tableRow(one, before, reach) {
  const task = taskOf(one.a), again = before?.a[TASK] === one.a[TASK];
  const [glyph, color] = data.looks[one.verdict] ?? ["", "currentColor"];
  const name = element("button", { type: "button", class: "plain", "data-key": `task ${task}`, title: `Show ${task} only`, onclick: () => focusOn("task", withoutSize(task)) }, task);
  const interval = one.ends[0] === null ? "" : `${signed(one.ends[0])} to ${signed(one.ends[1])}`;
  const said = `${plain(one.scores[0]?.[0])} and ${plain(one.scores[1]?.[0])}; difference ${signed(one.difference)}${interval && ` (95 % interval ${interval})`}; ${
    one.own ? `${one.facts[6]} common seeds, ${one.facts[7]} test images` : "no verdict on this metric: see AUC"}`;
  const explain = element("button", { type: "button", class: "plain", "aria-expanded": "false", title: said }, element("span", { style: `color: ${color}` }, glyph), ` ${one.excluded || one.verdict || "–"}`);
  const bar = drawInterval(one, reach, color);
  hover(bar, () => [said]);
  const row = element("tr", { class: again ? "again" : "" },
    element("th", { scope: "row" }, name, Object.hasOwn(data.notes, withoutSize(task)) ? element("small", {}, "generated") : ""),
    element("td", { class: "num wide" }, ...labelsOf(one.a)),
    ...one.scores.map((score) => element("td", { class: "num" }, plain(score?.[0]))),
    element("td", { class: "wide" }, bar),
    element("td", { class: "num" }, element("b", {}, signed(one.difference)), element("small", {}, interval)),
    element("td", { class: "verdict" }, explain));
  const details = element("tr", { class: "explain", hidden: "" }, element("td", { colspan: 7 }));
  explain.addEventListener("click", () => {
    details.hidden = !details.hidden;
    explain.setAttribute("aria-expanded", String(!details.hidden));
    if (!details.hidden) details.cells[0].replaceChildren(...explanation(one));
  });
  return [row, details];
}

/** Number of training labels, with their share where rows of several are shown. */
function labelsOf(row) {
  const count = row[TRAIN] === null ? "" : row[TRAIN].toLocaleString("en");
  return view.labels.value === "all" ? [share(row[LABELS]), element("small", {}, count)] : [count || share(row[LABELS])];
}

/** Definition, interval, flags and records of one comparison. */
function explanation(one) {
  const names = pairOf(), facts = one.facts;
  const over = one.own ? "mean over the seeds that both have" : "difference of the two means";
  const lines = [`Difference: test ${data.metrics[view.metric.value].title} of ${names[0]} minus ${names[1]}, ${over}.`];
  if (one.excluded) lines.push(`No verdict, for the flag ${one.excluded}.`);
  if (one.own) {
    const covers = data.estimand[facts[10]];
    if (covers) lines.push(`The 95 % interval covers ${covers}.`);
    if (facts[8] !== null) lines.push(`With these ${facts[6]} seeds and ${facts[7]} test images, a true difference of ${plain(facts[8])} is shown with 80 % probability.`);
    if (one.verdict === "undecided" && one.ends[0] * one.ends[1] > 0) lines.push("The interval excludes 0, but is not corrected for the number of tasks; the verdict is.");
  } else lines.push("No verdict is computed for this metric.");
  if (facts) lines.push(facts[9].length ? `Flags: ${facts[9].map((flag) => data.flags[flag].filter(Boolean).join(": ")).join("; ")}.` : "No flag.");
  const keys = [...one.a[KEYS], ...one.b[KEYS]];
  const records = element("details", { class: "records" }, element("summary", {}, `${keys.length} records`),
    element("code", {}, keys.map((key) => `records/${key}.json`).join("\n")));
  const links = element("p", {}, element("a", { href: "#how" }, "How to read this"), " ", element("a", { href: "#verdicts" }, "All verdicts"));
  return [...lines.map((line) => element("p", {}, line)), records, links];
}

function drawInterval(one, reach, color, width = 112, height = 20) {
  const x = (value) => ((Math.max(-reach, Math.min(reach, value)) + reach) / (2 * reach)) * (width - 12) + 6;
  const middle = height / 2;
  const drawing = element("svg", { viewBox: `0 0 ${width} ${height}`, width, height, "aria-hidden": "true" },
    ...(one.own ? [element("rect", { x: x(-data.margin), width: x(data.margin) - x(-data.margin), y: 0, height, class: "margin" })] : []),
    element("line", { x1: x(0), x2: x(0), y1: 0, y2: height, class: "zero" }));
  if (one.difference === null) return drawing;
  if (one.ends[0] !== null) drawing.append(element("line", { x1: x(one.ends[0]), x2: x(one.ends[1]), y1: middle, y2: middle, stroke: color, "stroke-width": 2 }));
  drawing.append(drawMark(one.verdict, x(one.difference), middle, color));
  return drawing;
}

/** Shape of a verdict: triangle up or down, square, empty circle. */
function drawMark(verdict, x, y, color) {
  const style = { fill: color, stroke: color };
  if (verdict === "better") return element("polygon", { points: `${x - 5},${y + 4} ${x + 5},${y + 4} ${x},${y - 5}`, ...style });
  if (verdict === "worse") return element("polygon", { points: `${x - 5},${y - 4} ${x + 5},${y - 4} ${x},${y + 5}`, ...style });
  if (!verdict) return element("line", { x1: x, x2: x, y1: y - 5, y2: y + 5, stroke: "currentColor", "stroke-width": 1.5 });
  if (verdict === "equivalent") return element("rect", { x: x - 4, y: y - 4, width: 8, height: 8, ...style });
  return element("circle", { cx: x, cy: y, r: 4, fill: "var(--paper)", stroke: color, "stroke-width": 1.5 });
}

/** Learning curves as small multiples; a forest plot where one number of labels was run. */
function drawPlot() {
  const rows = shownRows().filter((row) => !chosenOf("init").size || chosenOf("init").has(data.inits[row[INIT]].bare));
  const labels = [...new Set(rows.map((row) => row[LABELS]))].sort((x, y) => rank(x) - rank(y));
  const figure = document.getElementById("plot");
  const curves = labels.length > 1;
  const drawing = curves ? drawCurves(rows, labels, figure.clientWidth) : drawForest(figure.clientWidth);
  figure.querySelector(".drawing").replaceChildren(drawing);
  const tasks = new Set(rows.map((row) => row[TASK])).size;
  const cut = curves && tasks > MOST_PANELS ? ` ${MOST_PANELS} of ${tasks} tasks: filter for others.` : "";
  const interval = verdictsBy.has(data.metrics[view.metric.value].name) ? ` with 95 % interval; the band is the margin of ±${data.margin}` : "";
  figure.querySelector("figcaption").textContent = `${data.protocol[view.protocol.value]}: ${curves
    ? `mean over seeds, band ± one standard deviation over seeds.${cut}` : `difference${interval}.`}`;
  figure.querySelector(".legend").hidden = !curves;
}

/** Shares of the labels come in order; numbers per class, which are negative, before them. */
const rank = (place) => (data.labels[place][0] > 0 ? data.labels[place][0] : -1 / (1 - 1 / data.labels[place][0]));

function drawCurves(rows, labels, width) {
  const metric = Number(view.metric.value), narrow = window.innerWidth < 700;
  const tasks = [...new Set(rows.map((row) => row[TASK]))].slice(0, MOST_PANELS);
  const [left, bottom, title] = [52, 38, 17];
  const height = narrow ? 340 : Math.max(300, Math.min(430, 230 * tasks.length));
  const fit = (columns) => Math.min((width - left) / columns / 1.3, (height - bottom) / Math.ceil(tasks.length / columns));
  const columns = tasks.map((_, place) => place + 1).reduce((best, n) => (fit(n) > fit(best) ? n : best), 1);
  const [w, h] = [(width - left) / columns, (height - bottom) / Math.ceil(tasks.length / columns)];
  const scored = rows.filter((row) => tasks.includes(row[TASK]) && row[SCORES][metric]);
  const ends = scored.flatMap((row) => [row[SCORES][metric][0] - row[SCORES][metric][1], row[SCORES][metric][0] + row[SCORES][metric][1]]);
  const means = scored.map((row) => row[SCORES][metric][0]);
  const most = data.metrics[metric].lower || Math.max(...means) > 1 ? Infinity : 1; // a band ends where values end
  const [low, high] = [Math.max(Math.min(...ends), Math.min(0, ...means)), Math.min(Math.max(...ends), most)];
  const positive = labels.every((label) => data.labels[label][0] > 0);
  const spot = (label) => (positive ? Math.log(data.labels[label][0]) : labels.indexOf(label));
  const [start, end] = [spot(labels[0]), spot(labels.at(-1))];
  const x = (label) => 8 + ((spot(label) - start) / (end - start)) * (w - 26);
  const y = (value) => title + (1 - (Math.max(low, Math.min(high, value)) - low) / (high - low || 1)) * (h - title - 8);
  const drawing = element("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "group", "aria-label": `Learning curves of ${tasks.length} tasks` });
  tasks.forEach((task, place) => {
    const at = [left + (place % columns) * w, Math.floor(place / columns) * h];
    const last = place + columns >= tasks.length;
    drawing.append(panel({ task, rows: scored.filter((row) => row[TASK] === task), at, w, h, x, y, labels, metric, last, first: place % columns === 0, ticks: ticksOf(low, high, h) }));
  });
  const what = data.metrics[metric].title;
  drawing.append(element("text", { x: left + (width - left) / 2, y: height - 4, "text-anchor": "middle" }, positive ? "nominal share of the labels" : "label budget"),
    element("text", { transform: `translate(12 ${(height - bottom) / 2}) rotate(-90)`, "text-anchor": "middle" }, `test ${what}`));
  return drawing;
}

function ticksOf(low, high, h) {
  const step = [0.01, 0.02, 0.05, 0.1, 0.2, 0.25, 0.5, 1, 2, 5].find((size) => ((high - low) / size) * 26 < h - 20) ?? 10;
  const first = Math.ceil(low / step);
  return Array.from({ length: Math.max(0, Math.floor(high / step) - first + 1) }, (_, n) => (first + n) * step);
}

/** Cut the middle out of a long name. */
const shortened = (name, most) => (name.length <= most ? name : `${name.slice(0, Math.ceil(most * 0.6) - 1)}…${name.slice(name.length - Math.floor(most * 0.4))}`);

function panel({ task, rows, at, w, h, x, y, labels, metric, last, first, ticks }) {
  const name = data.task[task], most = Math.floor((w - 14) / 7);
  const shown = shortened(name, most);
  const group = element("g", { transform: `translate(${at[0]} ${at[1]})`, tabindex: 0, class: "panel-curve", role: "button", "data-key": `panel ${name}` },
    element("text", { x: 4, y: 12, class: "panel-title" }, shown));
  for (const tick of ticks) {
    group.append(element("line", { x1: 4, x2: w - 12, y1: y(tick), y2: y(tick), class: "grid" }));
    if (first) group.append(element("text", { x: -2, y: y(tick) + 4, "text-anchor": "end" }, Number(tick.toFixed(2))));
  }
  let free = -Infinity; // right end of the label before
  labels.forEach((label, place) => {
    const end = place === labels.length - 1, wide = share(label).length * 6.5;
    const from = x(label) - (place ? (end ? wide : wide / 2) : 0);
    if (!last || from < free || (!end && from + wide + 6 > x(labels.at(-1)) - share(labels.at(-1)).length * 6.5)) return;
    free = from + wide + 6;
    const tick = { x: x(label), y: h + 10, "text-anchor": place ? (place === labels.length - 1 ? "end" : "middle") : "start", class: "tick", onclick: () => choose("labels", label) };
    group.append(element("text", tick, share(label)));
  });
  data.inits.forEach((init, place) => {
    const line = rows.filter((row) => row[INIT] === place).sort((p, q) => x(p[LABELS]) - x(q[LABELS]));
    if (!line.length) return;
    const points = line.map((row) => [x(row[LABELS]), ...row[SCORES][metric]]);
    const path = (of) => of.map(([px, py]) => `${px.toFixed(1)},${py.toFixed(1)}`).join(" L");
    const band = [...points.map(([px, mean, sd]) => [px, y(mean + sd)]), ...points.map(([px, mean, sd]) => [px, y(mean - sd)]).reverse()];
    group.append(element("path", { d: `M${path(band)}Z`, fill: init.color, opacity: 0.15 }),
      element("path", { d: `M${path(points.map(([px, mean]) => [px, y(mean)]))}`, stroke: init.color, fill: "none", "stroke-width": 1.8, "stroke-dasharray": DASHES[place % 4] }),
      ...points.map(([px, mean]) => element("circle", { cx: px, cy: y(mean), r: 2.2, fill: init.color })));
  });
  group.append(element("rect", { x: 0, y: 0, width: w - 4, height: h, fill: "transparent" }));
  return listen(group, { name, rows, x, labels, metric });
}

/** Show the values of a panel at the labels under the pointer, or chosen by the arrow keys. */
function listen(group, { name, rows, x, labels, metric }) {
  let at = labels.length - 1;
  const lines = () => [`${name}, ${share(labels[at])} of the labels`, ...rows.filter((row) => row[LABELS] === labels[at]).map((row) => {
    const [mean, sd] = row[SCORES][metric];
    const spread = sd === null ? "" : ` ± ${plain(sd)}`;
    return `${data.inits[row[INIT]].name} ${plain(mean)}${spread} (n = ${row[SEEDS]}, labels: ${row[TRAIN] ?? "?"} train, ${row[VAL] ?? "?"} val)`;
  })];
  group.setAttribute("aria-label", lines().join("; "));
  group.addEventListener("pointermove", (event) => {
    const inside = event.clientX - group.getBoundingClientRect().left;
    at = labels.reduce((best, label, place) => (Math.abs(x(label) - inside) < Math.abs(x(labels[best]) - inside) ? place : best), 0);
  });
  group.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step) at = Math.max(0, Math.min(labels.length - 1, at + step));
    if (step) group.setAttribute("aria-label", lines().join("; "));
    if (step) showTip(group, lines());
    if (["Enter", " "].includes(event.key)) focusOn("task", withoutSize(name));
    if (step || event.key === " ") event.preventDefault();
  });
  group.addEventListener("click", (event) => event.target.matches(".tick") || focusOn("task", withoutSize(name)));
  hover(group, lines);
  return group;
}

function drawForest(width) {
  const found = comparisons().filter((one) => one.difference !== null);
  const [left, line, below] = [Math.min(190, width * 0.36), 24, 44];
  const height = found.length * line + below;
  const reach = reachOf(found);
  const [a, b] = pairOf();
  const drawing = element("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "group", "aria-label": `Differences of ${a} and ${b}` });
  found.forEach((one, place) => {
    const interval = drawInterval(one, reach, data.looks[one.verdict]?.[1] ?? "currentColor", width - left, line);
    interval.setAttribute("x", left);
    interval.setAttribute("y", place * line);
    const said = `${taskOf(one.a)}: ${signed(one.difference)} (${signed(one.ends[0])} to ${signed(one.ends[1])}), ${one.excluded || one.verdict || "no verdict"}`;
    const most = Math.floor(left / 6.4);
    const group = element("g", { tabindex: 0, role: "img", "aria-label": said },
      element("text", { x: left - 6, y: place * line + 16, "text-anchor": "end" }, shortened(taskOf(one.a), most)), interval);
    hover(group, () => [said]);
    drawing.append(group);
  });
  const y = height - below + 14;
  for (const [value, anchor] of [[-reach, "start"], [0, "middle"], [reach, "end"]]) {
    drawing.append(element("text", { x: left + 6 + ((value + reach) / (2 * reach)) * (width - left - 12), y, "text-anchor": anchor }, value ? `${value < 0 ? "−" : "+"}${reach.toFixed(2)}` : "0"));
  }
  const [right, wrong] = data.metrics[view.metric.value].lower ? [b, a] : [a, b];
  drawing.append(element("text", { x: left + (width - left) / 2, y: height - 8, "text-anchor": "middle" }, `${wrong} better ◂ difference in ${data.metrics[view.metric.value].title} ▸ ${right} better`));
  return drawing;
}

function hover(target, lines) {
  target.addEventListener("pointermove", () => showTip(target, lines()));
  target.addEventListener("focus", () => showTip(target, lines()));
  for (const leave of ["pointerleave", "blur"]) target.addEventListener(leave, () => (tip.hidden = true));
}

function showTip(target, lines) {
  tip.replaceChildren(...lines.map((line) => element("p", {}, line)));
  tip.hidden = false;
  const box = target.getBoundingClientRect();
  tip.style.left = `${Math.max(4, Math.min(box.left, window.innerWidth - tip.offsetWidth - 8))}px`;
  tip.style.top = `${box.bottom + tip.offsetHeight + 8 < window.innerHeight ? box.bottom + 6 : Math.max(4, box.top - tip.offsetHeight - 6)}px`;
}

/** Tick or untick one value of a filter, as if by hand. */
function focusOn(facet, value) {
  const box = boxes.find((one) => one.name === facet && one.value === value);
  box?.click();
}

function choose(id, value) {
  view[id].value = String(value);
  drawBoard();
  remember();
}

function drawBoard() {
  if (!data) return;
  followFilters();
  const pair = pairOf("bare");
  const found = data.pairs.find((one) => one.pair.every((name, place) => name === pair[place]));
  if (data.pairs.length) {
    document.querySelector("h1").textContent = found?.text ?? `Nothing compares ${pair.join(" and ")}.`;
    document.getElementById("sure").textContent = found?.sure ?? "";
  }
  for (const button of document.querySelectorAll(".legend button")) {
    button.setAttribute("aria-pressed", String(chosenOf("init").has(button.dataset.init)));
  }
  const focused = document.activeElement?.dataset?.key;
  drawTable();
  drawPlot();
  const again = focused && [...document.querySelectorAll(".board [data-key]")].find((one) => one.dataset.key === focused);
  if (again) again.focus();
  tip.hidden = true;
}

/** A filter for one protocol, network or number of labels decides the choice of the top. */
function followFilters() {
  const names = { protocol: ["protocol", data.protocol], network: ["arch", data.arch], labels: ["fraction", data.labels.map(([value]) => String(value))] };
  for (const [id, [facet, values]] of Object.entries(names)) {
    const ticks = [...chosenOf(facet)];
    const place = ticks.length === 1 ? values.findIndex((value) => value === ticks[0] || (facet === "fraction" && Math.abs(value - ticks[0]) < 1e-5)) : -1;
    view[id].disabled = place >= 0;
    if (place >= 0) view[id].value = String(place);
  }
}

/** Fill the choices; what has only one is hidden. */
function fillViews() {
  const most = (part) => {
    const tasks = new Map();
    for (const row of data.rows) tasks.set(row[part], (tasks.get(row[part]) ?? new Set()).add(row[TASK]));
    return [...tasks].reduce((best, one) => (one[1].size > best[1].size ? one : best))[0];
  };
  const protocol = most(PROTOCOL);
  const rows = data.rows.filter((row) => row[PROTOCOL] === protocol);
  const labels = data.labels.map((_, place) => place).sort((x, y) => rank(y) - rank(x));
  const few = new Set(rows.map((row) => `${row[TASK]} ${row[LABELS]}`)).size <= 12;
  const names = data.inits.map((init, place) => [place, init.name]);
  const pair = (data.pairs[0]?.pair ?? names.slice(0, 2).map(([, name]) => name)).map((name) => data.inits.findIndex((init) => init.bare === name || init.name === name));
  const choices = {
    first: [names, pair[0]],
    second: [names, pair[1] ?? 0],
    metric: [data.metrics.map((metric, place) => [place, metric.title]), 0],
    protocol: [data.protocol.map((name, place) => [place, name]), protocol],
    network: [data.arch.map((name, place) => [place, name]), most(ARCH)],
    labels: [[["all", "each"], ...labels.map((place) => [place, share(place)])], few || labels.length === 1 ? "all" : labels.find((place) => rows.some((row) => row[LABELS] === place))],
  };
  for (const [id, [options, start]] of Object.entries(choices)) {
    view[id].replaceChildren(...options.map(([value, text]) => element("option", { value, ...(value === start ? { selected: "" } : {}) }, text)));
    view[id].parentElement.hidden = options.length - (id === "labels") < 2;
  }
  document.querySelector(".legend").append(...data.inits.map((init, place) => {
    const line = { x1: 0, x2: 26, y1: 5, y2: 5, stroke: init.color, "stroke-width": 2.5, "stroke-dasharray": DASHES[place % 4] };
    const swatch = element("svg", { width: 26, height: 10, "aria-hidden": "true" }, element("line", line));
    const name = init.bare;
    return element("button", { type: "button", "aria-pressed": "false", "data-init": name, onclick: () => focusOn("init", name) }, swatch, init.name);
  }));
}

/** State of the choices that differ from the first ones, by their text, for the address. */
function viewState() {
  const changed = views.filter((select) => select.selectedIndex >= 0 && !select.selectedOptions[0].defaultSelected);
  return changed.map((select) => [`view-${select.id}`, [select.selectedOptions[0].textContent]]);
}

function setViews(chosen) {
  for (const select of views) {
    const text = chosen.get(`view-${select.id}`)?.[0];
    const options = [...select.options];
    const wanted = options.findIndex((option) => option.textContent === text);
    select.selectedIndex = wanted >= 0 ? wanted : Math.max(0, options.findIndex((option) => option.defaultSelected));
  }
}

if (data) {
  fillViews();
  for (const select of views) select.addEventListener("change", () => { drawBoard(); remember(); });
  let width = 0;
  new ResizeObserver(([entry]) => {
    if (Math.abs(entry.contentRect.width - width) > 1) drawPlot();
    width = entry.contentRect.width;
  }).observe(document.getElementById("plot"));
}
