/**
 * Take files that are dropped or chosen: a picture becomes a job, a table a batch that is checked first.
 */
import { ask } from "./dialog.js";
import { h, toast } from "./dom.js";
import { get, send, session, to } from "./server.js";
import { credits } from "./words.js";

const BATCHES = /\.(csv|jsonl)$/i;

/** The batch that was checked last, for the run afterwards. */
let checked = {};

/** The file of a check, if it is the last one: another check's file would run other rows than the page shows. */
export const fileOf = (key, version) => (checked.key === key && checked.version === version ? checked.file : null);

/**
 * Make a place that takes files, and let all of an element take them too.
 * @param {Element} around
 * @param {object} does
 * @param {(files: File[]) => Promise<any>} [does.take] what to do with them; otherwise they are sent at once
 * @param {() => void} [does.onBegin]
 * @param {(error: Error) => void} does.onError
 * @param {string} [does.text]
 */
export function dropsOn(
  around,
  { take = sendAll, onBegin = () => {}, onError, text = "Drop a picture or a batch file here, or choose one" },
) {
  const input = h("input", {
    type: "file",
    multiple: true,
    class: "unseen",
    tabindex: "-1",
    "aria-hidden": "true",
    "data-role": "file",
    onchange: () => {
      taken([...input.files]);
      input.value = "";
    },
  });
  const label = h("span", text);
  const zone = h(
    "button.drop",
    { type: "button", onclick: () => input.click() },
    h("span.plus", { "aria-hidden": "true" }, "+"),
    label,
  );
  let depth = 0;

  async function taken(files) {
    if (!files.length) return;
    onBegin();
    zone.classList.add("busy");
    label.textContent = files.length === 1 ? `Sending ${files[0].name} …` : `Sending ${files.length} files …`;
    try {
      await take(files);
    } catch (error) {
      onError(error);
    } finally {
      zone.classList.remove("busy");
      label.textContent = text;
    }
  }

  const over = step => event => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    depth = Math.max(0, depth + step);
    around.classList.toggle("over", depth > 0);
  };
  around.addEventListener("dragenter", over(1));
  around.addEventListener("dragleave", over(-1));
  around.addEventListener("dragover", event => event.preventDefault());
  around.addEventListener("drop", event => {
    event.preventDefault();
    depth = 0;
    around.classList.remove("over");
    taken([...event.dataTransfer.files]);
  });
  return h("div.dropping", zone, input);
}

/** Send files with the recipe "default". Where Genviral charges for it, people are asked first. */
async function sendAll(files) {
  const batch = batchIn(files);
  if (batch) return check(batch);
  if (!session.charges) return make(files, "default");
  const recipe = await get("/api/recipes").then(
    ({ recipes }) => recipes.find(one => one.name === "default"),
    () => null,
  );
  const each = files.some(isRequest)
    ? "a request costs what its own model does"
    : recipe?.credits
      ? `${credits(recipe.credits)} each by the list of models`
      : "at the model's price";
  await ask(
    {
      title: files.length === 1 ? `Make a video of ${files[0].name}?` : `Make ${files.length} videos?`,
      text: [`With the recipe default: ${each}. A file that was sent before finds its job and costs nothing.`],
      yes: "Make it, and pay",
      pays: true,
    },
    () => make(files, "default"),
  );
}

async function make(files, recipe) {
  const sent = [];
  for (const file of files) sent.push(await upload(file, { recipe }));
  if (sent.length === 1) location.hash = `#/jobs/${encodeURIComponent(sent[0].job_id)}`;
}

/**
 * Send one file.
 * @param {string?} again the id of another video of the same; a repeat with the same id pays for nothing
 * @returns {Promise<{job_id: string, is_new: boolean}>}
 */
export async function upload(file, { recipe, again = null, metadata = {} }) {
  const labels = Object.keys(metadata).length ? JSON.stringify(metadata) : null;
  const sent = await send(
    to("/api/uploads", { name: file.name, recipe: isRequest(file) ? null : recipe, again, metadata: labels }),
    file,
  );
  if (!sent.is_new) toast(`${file.name} was sent before: this is its job, and nothing was paid.`);
  return sent;
}

/** Check a batch, and show what the check finds. */
export async function check(file) {
  const sent = await send(to("/api/batches", { name: file.name, check: 1 }), file);
  checked = { key: sent.key, version: sent.version_id || null, file };
  location.hash = to(`#/batches/${encodeURIComponent(sent.key)}`, { version_id: sent.version_id });
}

/** Whether a file is a whole request, which takes no recipe. */
export const isRequest = file => /\.json$/i.test(file.name) && !file.name.endsWith(".manifest.json");

/** Return the batch among dropped files; null where there is none. */
export function batchIn(files) {
  const batch = files.find(file => BATCHES.test(file.name)) ?? null;
  if (batch && files.length > 1) throw new Error(`${batch.name} is a batch: drop it alone. Nothing was sent.`);
  return batch;
}
