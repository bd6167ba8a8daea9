// Tables as CSV, pictures as SVG or PNG: made in the page, nothing is sent.
function save(name, content, type) {
  const link = document.createElement("a");
  link.download = name;
  link.href = URL.createObjectURL(content instanceof Blob ? content : new Blob([content], { type }));
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

/** Save the visible rows of a table; numbers in full precision, small print in a column of its own. */
function saveTable(table) {
  const rows = [...table.rows].filter((row) => !row.hidden);
  const cells = (row) => [...row.cells].flatMap((cell) => {
    const notes = [...cell.querySelectorAll("small, .sd")].map((note) => note.textContent.trim()).join(" ");
    const text = [...cell.childNodes].filter((part) => !part.matches?.("small, .sd")).map((part) => part.textContent).join(" ").trim();
    return [cell.dataset.value ?? text.replaceAll("−", "-"), row.parentElement.tagName === "THEAD" ? `${text}, note` : notes];
  });
  saveRows(table.id, rows.map(cells));
}

/** Save rows of values as CSV; a text that a spreadsheet would run as a formula gets an apostrophe. */
function saveRows(name, rows) {
  const quoted = (value) => `"${String(value ?? "").replaceAll('"', '""').replace(/^([=+@\t-])(?![\d.])/, "'$1")}"`;
  save(`${name}.csv`, rows.map((row) => row.map(quoted).join(",") + "\r\n").join(""), "text/csv");
}

/** Save the visible panels of a figure as they lie on the screen. */
function savePicture(figure, png) {
  const box = figure.getBoundingClientRect();
  const style = getComputedStyle(figure);
  const paper = getComputedStyle(figure.closest("section, main")).backgroundColor;
  const panels = [...figure.querySelectorAll(".panel svg, .drawing svg, .legend svg, .swatch svg")].filter((svg) => svg.checkVisibility());
  const parts = panels.map((svg) => {
    const place = svg.getBoundingClientRect(), copy = svg.cloneNode(true);
    if (svg.closest(".drawing")) inlineStyles(svg, copy);
    for (const [name, value] of Object.entries({ x: place.left - box.left, y: place.top - box.top, width: place.width, height: place.height })) copy.setAttribute(name, value);
    return new XMLSerializer().serializeToString(copy);
  });
  const words = [...figure.querySelectorAll(".legend button, figcaption, .keys li")].filter((part) => part.checkVisibility());
  for (const part of words) {
    const range = document.createRange();
    range.selectNodeContents(part);
    const place = [...range.getClientRects()].at(-1);
    const label = element("text", { x: place.left - box.left, y: place.bottom - box.top - 4, "font-size": 12, fill: style.color }, part.textContent.trim());
    parts.push(new XMLSerializer().serializeToString(label));
  }
  const [width, height] = [Math.ceil(box.width), Math.ceil(box.height)];
  const ground = paper === "rgba(0, 0, 0, 0)" ? getComputedStyle(document.body).backgroundColor : paper;
  const whole = `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" color="${style.color}" style="--paper: ${ground}" font-family="sans-serif"><rect width="100%" height="100%" fill="${ground}"/>${parts.join("")}</svg>`;
  const name = figure.id || "plot";
  if (!png) return save(`${name}.svg`, whole, "image/svg+xml");
  const picture = new Image();
  picture.onload = () => {
    const canvas = Object.assign(document.createElement("canvas"), { width: 2 * width, height: 2 * height });
    canvas.getContext("2d").drawImage(picture, 0, 0, canvas.width, canvas.height);
    canvas.toBlob((blob) => save(`${name}.png`, blob));
  };
  picture.src = `data:image/svg+xml,${encodeURIComponent(whole)}`;
}

/** Copy what the page's style sheet says of the top plot, which a file of its own lacks. */
function inlineStyles(from, to) {
  const [parts, copies] = [from, to].map((svg) => svg.querySelectorAll("text, line.grid, line.zero, rect.margin"));
  parts.forEach((part, place) => {
    const style = getComputedStyle(part);
    for (const name of ["fill", "stroke", "opacity", "font-size", "font-weight"]) copies[place].style[name] = style.getPropertyValue(name);
  });
}

/** Add the buttons below a table or a figure. */
function addTools(block) {
  if (block.tagName === "TABLE") block.after(toolbar({ CSV: () => saveTable(block) }));
  else block.append(toolbar({ SVG: () => savePicture(block), PNG: () => savePicture(block, true) }));
}

/** Make a row of buttons: text -> action. */
function toolbar(actions) {
  const buttons = Object.entries(actions).map(([text, onclick]) => element("button", { type: "button", onclick }, text));
  return element("div", { class: "tools" }, ...buttons);
}
