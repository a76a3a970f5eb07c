/**
 * A form made of a model's own inputs, and the request that it sends.
 */
import { payFor } from "./dialog.js";
import { field, h, problem, select, toast } from "./dom.js";
import { get, post, to } from "./server.js";
import { credits, plain } from "./words.js";

/**
 * Make the form.
 * @param {object} request what to begin with: the request of an earlier job, or nothing
 * @param {boolean} again whether it is sent although the same may have been sent before
 */
export async function makeForm(request = {}, again = false) {
  const { models } = await get("/api/models");
  const inputs = h("div.stack");
  const trouble = h("div");
  const price = h("p.price", { role: "status" });
  const go = h("button.primary", { type: "submit" }, "Make video");
  const values = flat(request);
  let fields = new Map();
  const model = select(
    models.map(one => [one.model_id, `${one.name ?? one.model_id}${one.credits ? ` · ${credits(one.credits)}` : ""}`]),
    request.model_id ?? models[0]?.model_id,
    { onchange: showInputs },
  );
  const isAgain = h("input", { type: "checkbox", checked: again, onchange: showPrice });
  const occasion = crypto.randomUUID();
  const labels = h("textarea", {
    rows: 2,
    value: Object.entries(request.metadata ?? {})
      .map(pair => pair.join(" = "))
      .join("\n"),
  });
  const form = h(
    "form.stack",
    { onsubmit: sendIt, novalidate: true },
    field("Model", model),
    inputs,
    field("Your labels", labels, "One a line: name = value. They come back in the notification."),
    h("label.box", isAgain, "Another video, even if the same was made before: paid once more"),
    trouble,
    h("div.actions", price, go),
  );
  showInputs();
  return form;

  function showInputs() {
    remember();
    const listed = models.find(one => one.model_id === model.value)?.inputs ?? [];
    fields = new Map(listed.map(input => [input.name, { input, control: control(input, values.get(input.name)) }]));
    const made = name => {
      const { input, control: element } = fields.get(name);
      const text = plain(name.replace("params.", "")) + (input.required ? " (needed)" : "");
      return input.type === "boolean"
        ? h("label.box", element, text[0].toUpperCase() + text.slice(1))
        : field(text, element, hint(input));
    };
    const isRare = input =>
      !input.required &&
      !values.has(input.name) &&
      !input.name.startsWith("params.") &&
      (kindOf(input) === "urls" || /audio|video|voice|negative/.test(input.name));
    const rare = listed.filter(isRare).map(input => input.name);
    const usual = listed.map(input => input.name).filter(name => !rare.includes(name));
    const ofBody = usual.filter(name => !name.startsWith("params."));
    const params = usual.filter(name => name.startsWith("params."));
    inputs.replaceChildren(
      ...ofBody.map(made),
      h("div.grid", params.map(made)),
      rare.length ? h("details", h("summary", "More inputs"), h("div.stack", rare.map(made))) : "",
    );
    showPrice();
  }

  /** Keep what was typed for the next model. */
  function remember() {
    for (const [name, { input, control: element }] of fields) {
      const value = read(input, element);
      if (value === undefined) values.delete(name);
      else values.set(name, value);
    }
  }

  function showPrice() {
    const cost = models.find(one => one.model_id === model.value)?.credits;
    price.textContent =
      (cost ? credits(cost) : "The list of models has no price") + (isAgain.checked ? ", paid once more" : "");
  }

  function body() {
    remember();
    const names = new Set(fields.keys());
    // What no input is for stays as it was, where the model is still the same.
    const kept = request.model_id === model.value ? [...flat(request).keys()].filter(name => !names.has(name)) : [];
    const asked = { model_id: model.value };
    for (const name of [...kept, ...names]) {
      const value = values.get(name);
      if (value === undefined || name === "model_id") continue;
      if (!name.startsWith("params.")) asked[name] = value;
      else (asked.params ??= {})[name.slice("params.".length)] = value;
    }
    const pairs = labels.value
      .split("\n")
      .map(line => line.split("="))
      .filter(pair => pair[0].trim());
    if (pairs.length)
      asked.metadata = Object.fromEntries(pairs.map(([name, ...value]) => [name.trim(), value.join("=").trim()]));
    return asked;
  }

  async function sendIt(event) {
    event.preventDefault();
    trouble.replaceChildren();
    for (const { control: element } of fields.values()) element.removeAttribute("aria-invalid");
    if (!form.reportValidity()) return;
    const asked = body();
    // Some models would take it, and charge for a video of nothing.
    if (!Object.keys(asked).some(name => !["model_id", "params", "metadata"].includes(name))) {
      fail(new Error("There is nothing yet to make a video of: write a prompt, or give a link. Nothing was sent."));
      return;
    }
    const work = async () => {
      const sent = await post(to("/api/requests", { again: isAgain.checked ? occasion : null }), asked);
      if (!sent.is_new) toast("The same was sent before: this is its job, and nothing was paid.");
      location.hash = `#/jobs/${encodeURIComponent(sent.job_id)}`;
    };
    await payFor("Make this video?", price.textContent, go, work, fail);
  }

  function fail(error) {
    trouble.replaceChildren(problem(error));
    const wrong = (error.issues ?? []).map(issue => fields.get(issue.path)?.control).filter(Boolean);
    for (const element of wrong) element.setAttribute("aria-invalid", "true");
    wrong[0]?.focus();
  }
}

/** A request as paths and values. */
function flat(request) {
  const { params = {}, metadata, ...rest } = request;
  return new Map([
    ...Object.entries(rest),
    ...Object.entries(params ?? {}).map(([name, value]) => [`params.${name}`, value]),
  ]);
}

/** What kind of control an input gets. */
function kindOf({ name, type, choices }) {
  if (choices?.length) return "choice";
  if (/^(prompt|negative_prompt|speech_text)$/.test(name) || type === "prose") return "prose";
  return { links: "urls", integer: "number" }[type] ?? type;
}

function control(input, value) {
  const given = value ?? null;
  // A box that must be ticked is no input: its other answer is as good.
  const shared = { required: input.required && kindOf(input) !== "boolean", "data-input": input.name };
  switch (kindOf(input)) {
    case "boolean":
      return h("input", { type: "checkbox", checked: given ?? input.default ?? false, ...shared });
    case "choice": {
      const usual =
        input.default === undefined || input.default === null ? "the model's own" : `usual: ${input.default}`;
      const choices = (input.choices ?? []).map(String);
      const own = given !== null && !choices.includes(String(given)) ? [String(given)] : [];
      return select([["", usual], ...choices, ...own], given === null ? "" : String(given), shared);
    }
    case "number":
      return h("input", {
        type: "number",
        min: input.min,
        max: input.max,
        step: "any",
        value: given ?? "",
        placeholder: input.default ?? "",
        inputmode: "decimal",
        ...shared,
      });
    case "prose":
      return h("textarea", { rows: input.name === "prompt" ? 5 : 2, value: given ?? "", ...shared });
    case "urls":
      return h("textarea", { rows: 2, value: (given ?? []).join("\n"), spellcheck: "false", ...shared });
    default:
      return h("input", { type: "text", value: given ?? "", autocomplete: "off", ...shared });
  }
}

function read(input, element) {
  const kind = kindOf(input);
  if (kind === "boolean")
    return element.checked || element.checked !== Boolean(input.default) ? element.checked : undefined;
  const text = element.value.trim();
  if (!text) return undefined;
  if (kind === "number") return Number(text);
  if (kind === "urls")
    return text
      .split("\n")
      .map(line => line.trim())
      .filter(Boolean);
  return kind === "choice" ? (input.choices.find(one => String(one) === text) ?? text) : text;
}

function hint(input) {
  if (kindOf(input) === "urls") return "One link a line.";
  if (kindOf(input) === "number" && input.min !== undefined && input.min !== null)
    return `${input.min} to ${input.max}`;
  return null;
}
