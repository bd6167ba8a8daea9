"use strict";
// The address holds the reader's choices, so that a link restores the view, for example
//   #leaderboard&task=breastmnist,retinamnist&init=mednet&sort=leaderboard-1:3:d&theme=dark
// Nothing from the address is written into the page: it only selects among the page's values.

/** Split a fragment into the section to show and a map: name -> values; other text is ignored. */
function parsed(fragment) {
  const chosen = new Map();
  let anchor = "";
  for (const part of fragment.replace(/^#/, "").split("&")) {
    const at = part.indexOf("=");
    if (at < 0) anchor ||= decoded(part);
    else chosen.set(decoded(part.slice(0, at)), part.slice(at + 1).split(",").map(decoded));
  }
  return { anchor, chosen };
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return ""; // a broken escape selects nothing
  }
}

/** Inverse of `parsed`. */
function composed(anchor, chosen) {
  const parts = [...chosen].filter(([, values]) => values.length);
  const written = parts.map(([name, values]) => `${name}=${values.map(encoded).join(",")}`);
  return "#" + [encoded(anchor), ...written].filter(Boolean).join("&");
}

function encoded(text) {
  return encodeURIComponent(text).replaceAll("%3A", ":");
}
