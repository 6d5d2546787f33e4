// The page is whole without this script: it only lets a reader switch panels and the theme.
for (const box of document.querySelectorAll(".switched")) {
  const bar = box.querySelector(".switch");
  const radios = [...bar.querySelectorAll("input")];
  const panels = [...box.querySelectorAll(".panel")];
  const none = box.querySelector("[data-none]");
  const show = () => {
    const wanted = radios.filter((radio) => radio.checked).map((radio) => radio.value).join("|");
    let found = false;
    for (const panel of panels) {
      panel.hidden = panel.dataset.panel !== wanted;
      found ||= !panel.hidden;
    }
    if (none) none.hidden = found;
  };
  if (radios.length < 2) continue;
  bar.hidden = false;
  bar.addEventListener("change", show);
  const first = panels[0].dataset.panel.split("|");
  [...bar.querySelectorAll("fieldset")].forEach((set, number) => {
    for (const radio of set.querySelectorAll("input")) radio.checked = radio.value === first[number];
  });
  show();
}

const root = document.documentElement;
const theme = document.querySelector(".theme");
theme.hidden = false;
theme.addEventListener("click", () => {
  const dark = getComputedStyle(root).colorScheme === "dark"
    || (root.style.colorScheme === "" && matchMedia("(prefers-color-scheme: dark)").matches);
  root.style.colorScheme = dark ? "light" : "dark";
});
for (const link of document.querySelectorAll("[popover] a")) {
  link.addEventListener("click", () => link.closest("[popover]").hidePopover());
}

// A press on a heading sorts its table: numbers by size, what has no number last; a second press turns it round.
const value = (cell) => {
  const text = cell.dataset.v ?? cell.textContent.trim();
  const number = parseFloat(text.replace("−", "-").replaceAll(",", ""));
  // a date or a digest that begins with digits is a word: 2026-11-22, 1d3bd8
  return /^[-−+]?\d[\d,.]*(?![\w.:-])/.test(text) ? number : text.toLowerCase();
};
const compare = (a, b) => {
  if (typeof a === typeof b) return typeof a === "number" ? a - b : a.localeCompare(b);
  return typeof a === "number" ? -Infinity : Infinity;
};
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const rows = [...table.tBodies[0].rows].map((row) => ({ row, key: value(row.cells[column]) }));
      rows.sort((a, b) => {
        const order = compare(a.key, b.key);
        return up || !Number.isFinite(order) ? order || 0 : -order;
      });
      table.tBodies[0].append(...rows.map(({ row }) => row));
    });
  });
}

// A link to something inside a closed part opens the part.
const open = () => {
  for (let part = document.getElementById(decodeURIComponent(location.hash.slice(1))); part; part = part.parentElement) {
    if (part.tagName === "DETAILS") part.open = true;
  }
};
addEventListener("hashchange", open);
open();
