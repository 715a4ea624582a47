/** Elements made by calls: text stays text, so that no name from a file becomes markup. */

/** @typedef {Node | string | number | null | undefined | false} Child */

/**
 * Make an element. Properties that start with `on` are listeners; `class`, `for`, `aria-*`, `data-*` and SVG's are
 * attributes; `style` is an object of CSS properties; others are properties of the element. Null and false are left out.
 * @param {string} tag  `svg:` before the name makes an SVG element.
 * @param {Record<string, any> | null} [properties]
 * @param {...(Child | Child[])} children
 * @returns {any}
 */
export function h(tag, properties, ...children) {
  const svg = tag.startsWith("svg:");
  /** @type {any} */
  const element = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag.slice(4)) : document.createElement(tag);
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "style") for (const [key, each] of Object.entries(value)) element.style.setProperty(key, each);
    else if (svg || name.includes("-") || !(name in element)) element.setAttribute(name === "class" ? "class" : name, value === true ? "" : value);
    else element[name] = value;
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false).map((child) => (child instanceof Node ? child : String(child))));
  return element;
}

/**
 * Replace what an element holds, and keep the focus if the element that had it has a successor with the same id.
 * @param {Element} element
 * @param {...(Child | Child[])} children
 */
export function fill(element, ...children) {
  const focused = element.contains(document.activeElement) ? document.activeElement?.id : "";
  element.replaceChildren(...children.flat().filter((child) => child !== null && child !== undefined && child !== false).map((child) => (child instanceof Node ? child : String(child))));
  if (focused) document.getElementById(focused)?.focus();
}

let numbered = 0;

/** An id that no other element has, for labels and descriptions. */
export const newId = () => `e${(numbered += 1)}`;

/**
 * Call `work` once, `milliseconds` after the last of many calls.
 * @template {any[]} A
 * @param {number} milliseconds
 * @param {(...args: A) => void} work
 * @returns {(...args: A) => void}
 */
export function settled(milliseconds, work) {
  let timer = 0;
  return (...args) => {
    clearTimeout(timer);
    timer = setTimeout(() => work(...args), milliseconds);
  };
}

/**
 * The computed value of a colour of the theme, as in `colour("--c0")`, for canvases.
 * @param {string} name
 */
export const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** The property of the colour of class number `index`: four hues, then the same with other lightness. @param {number} index */
export const classColour = (index) => `--c${index % 8}`;
