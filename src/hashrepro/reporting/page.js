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
