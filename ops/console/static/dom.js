/**
 * Make elements. All text is set as text: nothing from outside ever becomes markup, a style or a script.
 */

/**
 * Make an element.
 * @param {string} name its tag; with classes after dots: "p.soft"
 * @param {object|Node|string|Array|null} [attributes] a function is a listener ("onclick"), true an empty attribute;
 *     null, undefined and false leave it out
 * @param {...(Node|string|number|Array|null|false)} children texts and elements; null and false are left out
 */
export function h(name, attributes, ...children) {
  const [tag, ...classes] = name.split(".");
  const element = document.createElement(tag);
  if (classes.length) element.className = classes.join(" ");
  if (
    attributes !== null &&
    typeof attributes === "object" &&
    !(attributes instanceof Node) &&
    !Array.isArray(attributes)
  ) {
    for (const [key, value] of Object.entries(attributes)) set(element, key, value);
  } else {
    children.unshift(attributes);
  }
  element.append(...children.flat(3).filter(child => child !== null && child !== undefined && child !== false));
  return element;
}

function set(element, key, value) {
  if (value === null || value === undefined || value === false) return;
  if (typeof value === "function") element.addEventListener(key.slice(2), value);
  else if (key === "class") element.classList.add(...value.split(" ").filter(Boolean));
  else if (key === "value" || key === "muted" || key === "indeterminate") element[key] = value;
  else element.setAttribute(key, value === true ? "" : String(value));
}

/** A part of a page that is made anew only if what it shows has changed, so that focus and players stay. */
export class Part {
  constructor(element) {
    this.element = element;
    this.shown = undefined;
  }

  /** Show what `make` returns for this data; null or an empty list hides the part. */
  show(data, make) {
    const key = JSON.stringify(data) ?? "";
    if (key === this.shown) return;
    this.shown = key;
    const focused = this.element.contains(document.activeElement) ? document.activeElement.dataset.key : null;
    const made = [make(data)].flat(3).filter(child => child !== null && child !== undefined && child !== false);
    this.element.replaceChildren(...made);
    this.element.hidden = made.length === 0;
    if (focused) this.element.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus();
  }
}

/** Name the page; views call it when they know what they show. */
export function title(text) {
  document.title = `${text} · genviral console`;
}

/** Tell people with a screen reader. */
export function announce(text) {
  const place = document.getElementById("announcer");
  place.textContent = "";
  setTimeout(() => (place.textContent = text), 50);
}

/** Show a line for some seconds, with a link or without; an error stays until it is closed. */
export function toast(text, { href, isError = false } = {}) {
  const place = document.getElementById("toasts");
  const close = h("button.quiet", { type: "button", "aria-label": "Close", onclick: () => line.remove() }, "×");
  const line = h(
    `div.toast${isError ? ".bad" : ""}`,
    { role: isError ? "alert" : "status" },
    href ? h("a", { href }, text) : h("span", text),
    close,
  );
  place.append(line);
  while (place.children.length > 4) place.firstChild.remove();
  if (!isError) setTimeout(() => line.matches(":hover, :focus-within") || line.remove(), 8000);
}

/** Show an error of the server where it happened. */
export function problem(error) {
  const lines = (error.issues ?? []).map(issue =>
    h("li", issue.path ? h("code", issue.path) : null, " ", issue.message),
  );
  return h("div.problem", { role: "alert" }, h("p", error.message), lines.length ? h("ul", lines) : null);
}

/** Do some work, and show its error in a place of the page; an earlier one goes away where it succeeds. */
export async function attempt(trouble, work) {
  try {
    await work();
    trouble.replaceChildren();
  } catch (error) {
    trouble.replaceChildren(problem(error));
  }
}

/** Run `tick` each second, as long as an element is on the page. */
export function everySecond(element, tick) {
  tick();
  const timer = setInterval(() => (element.isConnected ? tick() : clearInterval(timer)), 1000);
}

/** A button that is off while its work runs, and shows what went wrong. */
export function button(label, work, attributes = {}) {
  const made = h(
    "button",
    {
      type: "button",
      ...attributes,
      onclick: async () => {
        made.setAttribute("aria-busy", "true");
        made.disabled = true;
        try {
          await work();
        } catch (error) {
          toast(error.message, { isError: true });
        } finally {
          made.removeAttribute("aria-busy");
          made.disabled = false;
          // A browser takes the focus from what is off.
          if (document.activeElement === document.body) made.focus();
        }
      },
    },
    label,
  );
  return made;
}

let counted = 0;

/** A label with its control below, and a hint. */
export function field(label, control, hint) {
  control.id ||= `field-${++counted}`;
  const explained = hint ? h("p.hint", { id: `${control.id}-hint` }, hint) : null;
  if (explained) control.setAttribute("aria-describedby", explained.id);
  return h("div.field", h("label", { for: control.id }, label), control, explained);
}

/** A choice of one of several. `options` are texts, or pairs of value and text. */
export function select(options, chosen, attributes = {}) {
  return h(
    "select",
    attributes,
    options.map(option => {
      const [value, text] = Array.isArray(option) ? option : [option, option];
      return h("option", { value, selected: value === chosen }, text);
    }),
  );
}
