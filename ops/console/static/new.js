/**
 * Make a video: of a file with a recipe, or of a form with the model's own inputs; and send a job again with changes.
 */
import { payFor } from "./dialog.js";
import { field, h, problem, title } from "./dom.js";
import { batchIn, check, dropsOn, isRequest, upload } from "./drop.js";
import { makeForm } from "./form.js";
import { get } from "./server.js";
import { bytes, costOf, credits, many, placeholder } from "./words.js";

export function show(place, { query }) {
  title("New video");
  const from = query.get("from");
  const body = h("div.stack", h("p.soft", "Loading…"));
  const tab = (href, text, isHere) => h("a", { href, "aria-current": isHere ? "page" : null }, text);
  const tabs = isForm =>
    h(
      "nav.tabs",
      { "aria-label": "Made of" },
      tab("#/new", "A file, with a recipe", !isForm),
      tab("#/new?form=1", "A prompt, with a form", isForm),
    );
  const head = h("div", tabs(query.has("form")));
  place.append(h("h1", from ? "Send again with changes" : "New video"), head, body);
  fill().catch(error => body.replaceChildren(problem(error)));

  async function fill() {
    if (!from) return body.replaceChildren(query.has("form") ? await makeForm() : await makeFiles(place, {}));
    head.replaceChildren();
    const found = await get(`/api/jobs/${encodeURIComponent(from)}`);
    const { job, request } = found;
    const back = h("p.back", h("a", { href: `#/jobs/${encodeURIComponent(from)}` }, `← ${job.made_of}`));
    if (job.source?.type === "upload") {
      const answer = await fetch(`/media/${encodeURIComponent(from)}/upload`);
      const blob = answer.ok ? await answer.blob() : null;
      const files = blob ? [new File([blob], job.made_of, { type: blob.type })] : [];
      const lost = blob ? null : h("p.problem", "The file of this job cannot be shown here. Choose it once more.");
      return body.replaceChildren(
        back,
        lost ?? "",
        await makeFiles(place, { files, recipe: job.recipe, metadata: job.metadata ?? {}, again: true }),
      );
    }
    const short = found.request_is_shortened
      ? h(
          "p.problem",
          "What opens a link of this request is left out here. " +
            "Enter its links in full: a job whose links do not open may be paid for and fail.",
        )
      : "";
    body.replaceChildren(back, short, await makeForm(request ?? { model_id: job.model_id }, true));
  }
}

/** The form for files: what is sent, with which recipe, and what that costs. */
async function makeFiles(place, { files = [], recipe = "default", metadata = {}, again = false }) {
  const { recipes } = await get("/api/recipes");
  const trouble = h("div");
  const staged = h("ul.staged");
  const labels = h("div.labels");
  const price = h("p.price", { role: "status" });
  const go = h("button.primary", { type: "submit" }, "Make video");
  const typed = { ...metadata };
  const sent = [];
  let chosen = recipes.some(one => one.name === recipe) ? recipe : recipes[0]?.name;

  const zone = dropsOn(place, { take, onError: fail, text: "Drop pictures, videos or sounds here, or a batch file" });
  const isAgain = h("input", { type: "checkbox", checked: again });
  const occasion = crypto.randomUUID();
  const options = recipes.map(one =>
    h(
      "label.option",
      h("input", {
        type: "radio",
        name: "recipe",
        value: one.name,
        checked: one.name === chosen,
        disabled: one.status === "invalid",
        onchange: () => {
          chosen = one.name;
          showLabels();
        },
      }),
      h(
        "span.what",
        h("strong", one.name),
        h("span.soft", one.status === "invalid" ? "invalid: edit it first" : one.model_id),
      ),
      h("span.soft.cost", costOf(one)),
    ),
  );
  const form = h(
    "form.stack",
    { onsubmit: send, novalidate: true },
    zone,
    staged,
    h(
      "fieldset",
      h("legend", "Recipe"),
      options.length
        ? h("div.options", options)
        : h("p.soft", "There is no recipe yet. ", h("a", { href: "#/recipes" }, "Make one")),
    ),
    labels,
    h("label.box", isAgain, "Another video, even if the same was made before: paid once more"),
    trouble,
    h("div.actions", price, go),
  );
  isAgain.addEventListener("change", showPrice);
  showLabels();
  showFiles();
  return form;

  function take(dropped) {
    const batch = batchIn(dropped);
    if (batch) return check(batch);
    const whole = dropped.find(isRequest);
    if (whole) throw new Error(`${whole.name} is a whole request and takes no recipe. Drop it on the list of jobs.`);
    files = [...files, ...dropped];
    showFiles();
    go.focus();
    return undefined;
  }

  function fail(error) {
    trouble.replaceChildren(problem(error));
  }

  function showFiles() {
    staged.replaceChildren(
      ...files.map(file =>
        h(
          "li",
          preview(file),
          h("span.what", h("strong", file.name), h("span.soft", bytes(file.size))),
          h(
            "button.quiet",
            {
              type: "button",
              "aria-label": `Leave out ${file.name}`,
              onclick: () => {
                files = files.filter(other => other !== file);
                showFiles();
              },
            },
            "×",
          ),
        ),
      ),
    );
    staged.hidden = !files.length;
    showPrice();
  }

  /** A field for each label that the recipe takes. */
  function showLabels() {
    const { placeholders = [], needed = [] } = recipes.find(one => one.name === chosen) ?? {};
    labels.replaceChildren(
      ...placeholders
        .filter(text => text.startsWith("{{metadata."))
        .map(text => {
          const label = placeholder(text)[0].slice("metadata.".length);
          const required = needed.includes(text);
          const input = h("input", {
            type: "text",
            required,
            value: typed[label] ?? "",
            oninput: () => (typed[label] = input.value),
          });
          return field(
            label,
            input,
            required ? "The recipe needs it." : "If it is empty, the recipe's own value is used.",
          );
        }),
    );
    showPrice();
  }

  function showPrice() {
    const one = recipes.find(each => each.name === chosen);
    go.disabled = !files.length || !one;
    go.textContent = files.length > 1 ? `Make ${files.length} videos` : "Make video";
    if (!one || !files.length) return price.replaceChildren();
    const total = one.credits ? credits(one.credits * files.length) : "The list of models has no price";
    price.textContent = isAgain.checked ? `${total}, paid once more` : total;
    return undefined;
  }

  async function send(event) {
    event.preventDefault();
    trouble.replaceChildren();
    if (!form.reportValidity()) return;
    const given = Object.fromEntries(Object.entries(typed).filter(([, value]) => value !== ""));
    const takes = new Set([...labels.querySelectorAll("label")].map(label => label.textContent));
    const labelled = Object.fromEntries(Object.entries(given).filter(([name]) => takes.has(name)));
    const work = async () => {
      for (const file of files) {
        sent.push(await upload(file, { recipe: chosen, again: isAgain.checked ? occasion : null, metadata: labelled }));
        // If a later one fails, this one is not sent and paid for again with the rest.
        files = files.filter(other => other !== file);
        showFiles();
      }
      location.hash = sent.length === 1 ? `#/jobs/${encodeURIComponent(sent[0].job_id)}` : "#/jobs";
    };
    await payFor(`Make ${many(files.length, "video")}?`, price.textContent, go, work, fail);
  }
}

function preview(file) {
  const kind = file.type.split("/")[0];
  if (file.type === "image/svg+xml" || !["image", "video"].includes(kind)) return h("span.thumb");
  const src = URL.createObjectURL(file);
  const release = () => URL.revokeObjectURL(src);
  return h(
    "span.thumb",
    kind === "image"
      ? h("img", { src, alt: "", onload: release, onerror: release })
      : h("video", { src, muted: true, preload: "metadata", onloadeddata: release }),
  );
}
