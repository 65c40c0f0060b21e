/** Elements in a line: `h("p", { class: "note" }, "text")`. */

type Child = Node | string | number | null | undefined | false;
type Props = Record<string, unknown>;

const SVG = "http://www.w3.org/2000/svg";

export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  props: Props = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  return filled(document.createElement(tag), props, children);
}

/** The same for the elements of a picture. */
export function s(tag: string, props: Props = {}, ...children: Child[]): SVGElement {
  return filled(document.createElementNS(SVG, tag) as SVGElement, props, children);
}

function filled<E extends Element>(element: E, props: Props, children: Child[]): E {
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value as EventListener);
    else if (name === "style") Object.assign((element as unknown as HTMLElement).style, value);
    else if (name === "value" || name === "checked") {
      Object.assign(element, { [name]: value });
    } else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.filter(isThere).map((child) => (child instanceof Node ? child : String(child))));
  return element;
}

function isThere(child: Child): child is Node | string | number {
  return child !== null && child !== undefined && child !== false;
}

export function refill(element: Element, ...children: Child[]): void {
  element.replaceChildren(
    ...children.filter(isThere).map((child) => (child instanceof Node ? child : String(child))),
  );
}

/** A part of the page with a heading, and a line below that says what it shows. */
export function card(title: string, about: Child, ...children: Child[]): HTMLElement {
  const id = `card-${title.toLowerCase().replace(/[^a-z]+/g, "-")}`;
  return h(
    "section",
    { class: "card", "aria-labelledby": id },
    h("h2", { id }, title),
    about && h("p", { class: "about" }, about),
    ...children,
  );
}

/** A choice from a list, with its label. */
export function choice(
  label: string,
  options: { value: string; text: string }[],
  chosen: string,
  onchange: (value: string) => void,
): HTMLLabelElement {
  const select = h(
    "select",
    { onchange: (event: Event) => onchange((event.target as HTMLSelectElement).value) },
    ...options.map(({ value, text }) => h("option", { value, selected: value === chosen }, text)),
  );
  return h("label", { class: "field" }, h("span", {}, label), select);
}

/** One of a few, side by side. */
export function segments(
  legend: string,
  options: { value: string; text: string }[],
  chosen: string,
  onchange: (value: string) => void,
): HTMLFieldSetElement {
  const name = `segments-${legend.toLowerCase().replace(/[^a-z]+/g, "-")}`;
  return h(
    "fieldset",
    { class: "segments" },
    h("legend", {}, legend),
    h(
      "div",
      {},
      ...options.map(({ value, text }) =>
        h(
          "label",
          {},
          h("input", {
            type: "radio",
            name,
            value,
            checked: value === chosen,
            onchange: () => onchange(value),
          }),
          h("span", {}, text),
        ),
      ),
    ),
  );
}

/** A slider with its value beside it. */
export function slider(
  label: string,
  [low, high, step]: [number, number, number],
  value: number,
  shown: (value: number) => string,
  oninput: (value: number) => void,
): HTMLLabelElement {
  const output = h("output", {}, shown(value));
  const input = h("input", { type: "range", min: low, max: high, step, value });
  input.addEventListener("input", () => {
    output.textContent = shown(input.valueAsNumber);
    oninput(input.valueAsNumber);
  });
  return h("label", { class: "slider" }, h("span", {}, label, " ", output), input);
}
