/**
 * Edit a recipe: its errors as one types, and the request that a file would get.
 */
import { button, field, h, problem, title, toast } from "./dom.js";
import { json } from "./job.js";
import { get, post, put } from "./server.js";
import { credits, placeholder } from "./words.js";

const BEGIN = `{
  "model_id": "bytedance/seedance-2.0",
  "prompt": "A slow turn around the product of @Image1",
  "reference_image_urls": ["{{asset_url}}"],
  "params": {"duration_seconds": 5, "aspect_ratio": "9:16"},
  "metadata": {"file": "{{filename}}"}
}
`;

/** What was typed and not saved, while the page is open. */
const drafts = new Map();

export function show(place, { what: name, query }) {
  title(`Recipe ${name}`);
  const address = `/api/recipes/${encodeURIComponent(name)}`;
  const editor = h("textarea.code", {
    spellcheck: "false",
    autocapitalize: "off",
    autocomplete: "off",
    wrap: "off",
    rows: 18,
    "aria-describedby": "recipe-errors",
    oninput: typed,
    onkeydown: keys,
    onscroll: () => (numbers.scrollTop = editor.scrollTop),
  });
  const numbers = h("pre.numbers", { "aria-hidden": "true" });
  const errors = h("div.errors", { id: "recipe-errors", "aria-live": "polite" });
  const preview = h("div");
  const file = h("input", { type: "text", value: "red shoe.jpg", oninput: soon });
  const values = h("div.stack");
  const price = h("p.price");
  const state = h("span.soft", { role: "status" });
  const save = button("Save", store, { class: "primary" });
  const typedValues = {};
  let etag = null;
  let saved = null;
  let asked = 0;
  let timer = 0;

  place.append(
    h("p.back", h("a", { href: "#/recipes" }, "← All recipes")),
    h("div.head", h("h1", name), state, save),
    h(
      "div.columns.even",
      h(
        "section.card",
        h("h2", h("label", { for: "recipe-text" }, "Recipe")),
        h("div.editor", numbers, editor),
        errors,
      ),
      h("section.card", h("h2", "Preview"), field("With the values of a file called", file), values, price, preview),
    ),
  );
  editor.id = "recipe-text";
  load();
  const guard = event => isChanged() && event.preventDefault();
  addEventListener("beforeunload", guard);
  return () => {
    removeEventListener("beforeunload", guard);
    clearTimeout(timer);
    asked++;
    if (isChanged()) drafts.set(name, editor.value);
    else drafts.delete(name);
  };

  async function load() {
    try {
      const found = query.has("new") ? null : await get(address);
      etag = found?.etag ?? null;
      saved = found?.text ?? "";
      editor.value = drafts.get(name) ?? found?.text ?? BEGIN;
      if (drafts.has(name)) state.textContent = "Not saved yet: this is your draft.";
      typed();
    } catch (error) {
      errors.replaceChildren(problem(error));
    }
  }

  function isChanged() {
    return saved !== null && editor.value !== saved;
  }

  function typed() {
    const lines = editor.value.split("\n").length;
    if (numbers.childElementCount !== lines) {
      numbers.replaceChildren(...Array.from({ length: lines }, (_, index) => h("span", index + 1)));
    }
    numbers.scrollTop = editor.scrollTop;
    state.textContent = isChanged() ? "Not saved" : "Saved";
    save.disabled = !isChanged();
    soon();
  }

  function soon() {
    clearTimeout(timer);
    timer = setTimeout(check, 250);
  }

  async function check() {
    const mine = ++asked;
    try {
      const metadata = Object.fromEntries(Object.entries(typedValues).filter(([, value]) => value));
      const found = await post(`${address}/check`, {
        text: editor.value,
        file: { name: file.value || "file.jpg", metadata },
      });
      if (mine !== asked) return;
      showErrors(found.errors ?? []);
      if (found.valid) showValues();
      price.textContent = found.credits ? `A video costs ${credits(found.credits)} by the list of models.` : "";
      if (found.request) preview.replaceChildren(json(found.request));
      preview.classList.toggle("stale", !found.valid);
    } catch (error) {
      if (mine === asked) errors.replaceChildren(problem(error));
    }
  }

  function showErrors(found) {
    editor.setAttribute("aria-invalid", String(found.length > 0));
    for (const line of numbers.children) line.classList.remove("wrong");
    for (const one of found) numbers.children[one.line - 1]?.classList.add("wrong");
    errors.replaceChildren(
      found.length
        ? h(
            "ul",
            found.map(one =>
              h(
                "li",
                one.line
                  ? h(
                      "button.quiet",
                      { type: "button", onclick: () => go(one.line, one.column ?? 1) },
                      `line ${one.line}`,
                    )
                  : null,
                one.path ? h("code", one.path) : null,
                h("span", one.message),
              ),
            ),
          )
        : h("p.fine", "Valid."),
    );
  }

  /** A field for each of the file's own values that the recipe takes. */
  function showValues() {
    const takes = new Map([...editor.value.matchAll(/\{\{\s*metadata\.[^}]*\}\}/g)].map(([text]) => placeholder(text)));
    const names = [...takes.keys()].map(one => one.slice("metadata.".length));
    if ([...values.querySelectorAll("label")].map(label => label.textContent).join() === names.join()) return;
    values.replaceChildren(
      ...names.map(one => {
        const input = h("input", {
          type: "text",
          value: typedValues[one] ?? "",
          placeholder: takes.get(`metadata.${one}`),
          oninput: () => {
            typedValues[one] = input.value;
            soon();
          },
        });
        return field(one, input);
      }),
    );
  }

  function go(line, column) {
    const before = editor.value
      .split("\n")
      .slice(0, line - 1)
      .join("\n").length;
    const at = before + (line > 1 ? 1 : 0) + column - 1;
    editor.focus();
    editor.setSelectionRange(at, at);
  }

  function keys(event) {
    if (event.key === "s" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      if (!save.disabled) save.click();
    }
  }

  async function store() {
    const text = editor.value;
    try {
      const stored = await put(address, { text, etag });
      etag = stored.etag ?? etag;
      saved = text;
      drafts.delete(name);
      toast(`The recipe ${name} is saved. Files in uploads/${name === "default" ? "" : `${name}/`} use it.`);
    } catch (error) {
      errors.replaceChildren(problem(error));
    }
    setTimeout(typedState);
  }

  function typedState() {
    state.textContent = isChanged() ? "Not saved" : "Saved";
    save.disabled = !isChanged();
  }
}
