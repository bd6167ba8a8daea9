// Ties sorting, filtering, the theme and the address together.
const root = document.documentElement;
const themes = document.getElementById("theme");
const darkScreen = window.matchMedia("(prefers-color-scheme: dark)");

/** Make the page show what an address says. */
function show({ anchor, chosen }) {
  tick(chosen);
  filter();
  sortAs(chosen.get("sort") ?? []);
  dress(["light", "dark"].find((theme) => chosen.get("theme")?.includes(theme)) ?? "");
  if (anchor) document.getElementById(anchor)?.scrollIntoView({ behavior: "instant" });
}

/** Make the address say what the page shows. */
function remember() {
  const { anchor } = parsed(location.hash);
  const chosen = new Map([...ticked()].map(([name, ticks]) => [name, ticks.map((box) => box.value)]));
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
  sortAs([]);
  filter();
  remember();
});
document.getElementById("copy").addEventListener("click", async () => {
  remember();
  const said = document.getElementById("copied");
  try {
    await navigator.clipboard.writeText(location.href);
    said.textContent = "Link copied";
  } catch {
    said.textContent = "The link stands in the address bar"; // a browser may keep the clipboard from a file
  }
  setTimeout(() => (said.textContent = ""), 4000);
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
  // A link to a section moves and keeps the filter; any other address says all there is to show.
  if (address.anchor && address.chosen.size === 0) remember();
  else show(address);
});

// What is folded is opened on paper, but not the lists of records.
const opened = [];
window.addEventListener("beforeprint", () => {
  opened.push(...document.querySelectorAll("details.block:not([open])"));
  for (const folded of opened) folded.open = true;
});
window.addEventListener("afterprint", () => {
  for (const folded of opened.splice(0)) folded.open = false;
});

bar.hidden = false;
show(parsed(location.hash));
