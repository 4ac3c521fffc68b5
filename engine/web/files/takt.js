// What pages are better with, and whole without: times in the reader's zone and menus that close.
"use strict";

const FORMS = {
  minute: new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" }),
  day: new Intl.DateTimeFormat(undefined, { dateStyle: "medium" }),
};

for (const each of document.querySelectorAll("time[data-show]")) {
  each.textContent = FORMS[each.dataset.show].format(new Date(each.dateTime)); // the title keeps it in UTC
}

const menus = [...document.querySelectorAll("details.menu")];
document.addEventListener("click", (event) => {
  for (const menu of menus) if (!menu.contains(event.target)) menu.open = false;
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const menu of menus.filter((each) => each.open)) {
    menu.open = false;
    menu.querySelector("summary").focus();
  }
});

for (const form of document.querySelectorAll("form[data-sure]")) {
  form.addEventListener("submit", (event) => {
    if (!window.confirm(form.dataset.sure)) event.preventDefault();
  });
}

let vega; // loaded once somebody asks to explore a chart
function loaded(address) {
  vega ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = address;
    script.onload = () => resolve(window.vegaEmbed);
    script.onerror = () => reject(new Error("the script did not come"));
    document.head.append(script);
  });
  return vega;
}

function inked(text) { // charts are drawn in a grey that does for every page: here it is this page's own ink
  const ink = getComputedStyle(document.body).color;
  return JSON.parse(text.replaceAll(`"${JSON.parse(text).config.text.fill}"`, JSON.stringify(ink)));
}

async function explore(button) {
  const stage = document.createElement("div");
  const charts = [...button.closest("figure").querySelectorAll(":scope > .chart")];
  const isNarrow = window.matchMedia("(max-width: 38rem)").matches;
  const [embed, answer] = await Promise.all([
    loaded(button.dataset.script),
    fetch(button.dataset.explore + (isNarrow ? "?narrow=true" : "")),
  ]);
  if (!answer.ok) throw new Error(answer.statusText);
  stage.className = "stage";
  stage.setAttribute("role", "img");
  stage.setAttribute("aria-label", charts[0].getAttribute("aria-label"));
  charts[0].before(stage);
  // An interpreter of expressions and no styles of its own: the page's policy lets neither code nor styles in.
  const canvas = stage.appendChild(document.createElement("div")); // what draws there has words of its own for it
  await embed(canvas, inked(await answer.text()), {
    mode: "vega-lite", renderer: "canvas", ast: true, actions: false, defaultStyle: false,
    tooltip: { disableDefaultStyle: true },
  });
  for (const chart of charts) chart.hidden = true;
}

for (const button of document.querySelectorAll("button[data-explore]")) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    button.disabled = true;
    button.textContent = "Loading…";
    try {
      await explore(button);
      button.remove();
    } catch {
      vega = undefined;
      button.disabled = false;
      button.textContent = "That did not work. Try again";
    }
  });
}
