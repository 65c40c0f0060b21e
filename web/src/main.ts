/** The page: three tabs over one worker. */
import "./style.css";
import { SAMPLES } from "./table/samples";
import { chipPanel } from "./panels/chip";
import { priorPanel } from "./panels/prior";
import { tablePanel } from "./panels/table";
import { isDark } from "./view/palette";
import { ask } from "./worker/client";

const TABS = ["table", "prior", "chip"] as const;
type Tab = (typeof TABS)[number];

const part = (id: string) => document.getElementById(id) as HTMLElement;
const complain = (message: string) => {
  const error = part("panel-table").querySelector(".error");
  if (error) error.textContent = message;
  choose("table", false);
};

void ask("load", { network: "tiny" }, "load tiny").catch((error) => complain(error.message));
const chip = chipPanel(part("panel-chip"), complain);
const table = tablePanel(part("panel-table"), (open) => chip.open(open));
const prior = priorPanel(part("panel-prior"), complain, (text, name) => {
  choose("table", true);
  table.take(text, name);
});

function choose(tab: Tab, focus: boolean): void {
  for (const name of TABS) {
    const button = part(`tab-${name}`);
    const isChosen = name === tab;
    button.setAttribute("aria-selected", String(isChosen));
    button.tabIndex = isChosen ? 0 : -1;
    part(`panel-${name}`).hidden = !isChosen;
    if (isChosen && focus) button.focus();
  }
  if (tab === "prior") prior.start();
}

for (const [i, name] of TABS.entries()) {
  const button = part(`tab-${name}`);
  button.addEventListener("click", () => choose(name, false));
  button.addEventListener("keydown", ({ key }) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[key];
    if (step) choose(TABS[(i + step + TABS.length) % TABS.length], true);
    if (key === "Home") choose(TABS[0], true);
    if (key === "End") choose(TABS[TABS.length - 1], true);
  });
}

function paintTheme(): void {
  part("theme").textContent = isDark() ? "Light" : "Dark";
  for (const one of [table, prior, chip]) one.repaint();
}

part("theme").addEventListener("click", () => {
  document.documentElement.dataset.theme = isDark() ? "light" : "dark";
  paintTheme();
});
window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paintTheme);

const wanted = TABS.find((name) => location.hash === `#${name}`);
choose(wanted ?? "table", false);
paintTheme();
const first = SAMPLES.iris.file;
fetch(`samples/${first}`)
  .then((answer) => answer.text())
  .then((text) => table.take(text, first))
  .catch((error) => complain(`The sample table could not be loaded: ${error.message}`));
