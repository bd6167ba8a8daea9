// Ties sorting, filtering, the theme and the address together.
const root = document.documentElement;
const themes = document.getElementById("theme");
const darkScreen = window.matchMedia("(prefers-color-scheme: dark)");

/** Make the blocks of a section work; a packed one, of a very long report, is unpacked first. */
async function openSection(section) {
  const packed = section.querySelector("script.packed");
  if (packed) {
    const bytes = Uint8Array.from(atob(packed.textContent), (letter) => letter.charCodeAt(0));
    const text = await new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
    if (!packed.isConnected) return; // unpacked meanwhile
    packed.nextElementSibling.remove();
    packed.outerHTML = text;
  }
  if (section.dataset.open) return;
  section.dataset.open = "true";
  section.style.minHeight = "";
  for (const table of section.querySelectorAll("table")) registerTable(table);
  for (const block of section.querySelectorAll("table, figure")) addTools(block);
  reachPanels(section);
  const found = [...section.querySelectorAll("[data-marks]")];
  marked.push(...found);
  rows.push(...found.filter((item) => item.tagName === "TR"));
}

/** Let the keyboard scroll pictures that are wider than their place. */
function reachPanels(part) {
  for (const panels of part.querySelectorAll(".panels")) {
    if (panels.scrollWidth > panels.clientWidth || panels.scrollHeight > panels.clientHeight) panels.tabIndex = 0;
  }
}

const sections = [...document.querySelectorAll("main > section")];
const near = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (!isIntersecting) continue;
    near.unobserve(target);
    openSection(target).then(() => {
      applyMarks();
      sortAs(parsed(location.hash).chosen.get("sort") ?? []);
    });
  }
}, { rootMargin: "600px" });

/** Set the page to an address; sections that it names are unpacked first. */
async function show({ anchor, chosen }) {
  const named = [anchor, ...(chosen.get("sort") ?? [])].map((name) => document.getElementById(name.replace(/-\d+:.*$/, "")));
  await Promise.all(sections.filter((section) => named.some((one) => section === one || section.contains(one))).map(openSection));
  tick(chosen);
  setViews(chosen);
  filter();
  sortAs(chosen.get("sort") ?? []);
  dress(["light", "dark"].find((theme) => chosen.get("theme")?.includes(theme)) ?? "");
  if (anchor) await reveal(anchor);
}

/** Scroll to a part; what lies above it is unpacked first, so that it does not move away. */
async function reveal(anchor) {
  const target = document.getElementById(anchor);
  if (!target) return;
  const above = sections.filter((section) => section.compareDocumentPosition(target) & Node.DOCUMENT_POSITION_FOLLOWING);
  await Promise.all([...above, ...sections.filter((section) => section.contains(target))].map(openSection));
  applyMarks();
  if (target.tagName === "DETAILS") target.open = true;
  target.scrollIntoView();
}

/** Set the address to the state of the page. */
function remember() {
  const { anchor } = parsed(location.hash);
  const chosen = new Map([...ticked()].map(([name, ticks]) => [name, ticks.map((box) => box.value)]));
  for (const [name, values] of viewState()) chosen.set(name, values);
  chosen.set("sort", orders());
  chosen.set("theme", root.dataset.theme ? [root.dataset.theme] : []);
  history.replaceState(null, "", composed(anchor, chosen));
}

function dress(theme) {
  if (theme) root.dataset.theme = theme;
  else delete root.dataset.theme;
  themes.textContent = dark() ? "Light" : "Dark";
  themes.ariaLabel = themes.title = `Switch to the ${dark() ? "light" : "dark"} theme`;
}

function dark() {
  return root.dataset.theme ? root.dataset.theme === "dark" : darkScreen.matches;
}

bar.addEventListener("change", () => {
  filter();
  remember();
});
document.getElementById("reset").addEventListener("click", () => {
  tick(new Map());
  setViews(new Map());
  sortAs([]);
  filter();
  remember();
});
document.getElementById("copy").addEventListener("click", async () => {
  remember();
  const message = document.getElementById("copied");
  try {
    await navigator.clipboard.writeText(location.href);
    message.textContent = "Link copied";
  } catch {
    message.textContent = "The link is in the address bar"; // a browser may deny files the clipboard
  }
  setTimeout(() => (message.textContent = ""), 4000);
});
themes.addEventListener("click", () => {
  dress(dark() ? "light" : "dark");
  remember();
});
darkScreen.addEventListener("change", () => dress(root.dataset.theme ?? ""));

const more = document.getElementById("more"); // folds the bar on a narrow screen
more.addEventListener("click", () => {
  more.setAttribute("aria-expanded", String(bar.classList.toggle("wide")));
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") tip.hidden = true;
  const open = event.key === "Escape" && bar.querySelector("details[open]");
  if (!open) return;
  open.open = false;
  open.querySelector("summary").focus();
});
document.addEventListener("click", (event) => {
  for (const facet of bar.querySelectorAll("details[open]")) facet.open = facet.contains(event.target);
});

window.addEventListener("hashchange", () => {
  const address = parsed(location.hash);
  // A link to a section keeps the filter; any other address sets the whole state.
  if (address.anchor && address.chosen.size === 0) {
    reveal(address.anchor);
    remember();
  } else show(address);
});

bar.hidden = false;
if (data) addTools(document.getElementById("plot"));
reachPanels(document);
for (const section of sections) {
  if (section.querySelector("script.packed")) {
    section.style.minHeight = "30rem";
    near.observe(section);
  } else openSection(section);
}
show(parsed(location.hash));
