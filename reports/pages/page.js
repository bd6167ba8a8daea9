// Ties sorting, filtering, the theme and the address together.
const root = document.documentElement;
const themes = document.getElementById("theme");
const darkScreen = window.matchMedia("(prefers-color-scheme: dark)");

/** Set the page to an address. */
function show({ anchor, chosen }) {
  tick(chosen);
  filter();
  sortAs(chosen.get("sort") ?? []);
  dress(["light", "dark"].find((theme) => chosen.get("theme")?.includes(theme)) ?? "");
  if (anchor) document.getElementById(anchor)?.scrollIntoView({ behavior: "instant" });
}

/** Set the address to the state of the page. */
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
  if (address.anchor && address.chosen.size === 0) remember();
  else show(address);
});

// Folded blocks are opened for printing, lists of records are not.
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
