/**
 * The page's frame: which view is shown, whether it is live, and what there is on every view.
 */
import { announce, h, problem, toast } from "./dom.js";
import { begin, get, listen, on, session } from "./server.js";
import { faster, plain, refreshAges } from "./words.js";

const VIEWS = {
  jobs: () => import("./jobs.js"),
  job: () => import("./job.js"),
  new: () => import("./new.js"),
  batches: () => import("./batch.js"),
  recipes: () => import("./recipes.js"),
  recipe: () => import("./recipe.js"),
  overview: () => import("./overview.js"),
  laptop: () => import("./laptop.js"),
};
const main = document.getElementById("main");
let leave = null;
let shown = 0;

/** Return what a part of an address stands for; one that was mistyped stands for itself. */
function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** Show what the address names. A view returns how it is left; one that is not saved may refuse by `beforeunload`. */
async function route() {
  const mine = ++shown;
  const [path, query = ""] = (location.hash.replace(/^#\/?/, "") || "jobs").split("?");
  const [name, ...rest] = path.split("/");
  const what = decoded(rest.join("/"));
  const view = what ? ({ jobs: "job", recipes: "recipe" }[name] ?? name) : name;
  leave?.();
  leave = null;
  for (const link of document.querySelectorAll("nav a")) {
    const isHere = link.hash === `#/${name}`;
    if (isHere) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const place = h("div", { class: `view view-${view}` });
  try {
    if (!(view in VIEWS)) throw new Error("There is no such view. The links above lead to all of them.");
    const { show } = await VIEWS[view]().catch(() => {
      throw new Error(
        "The console does not answer. Is its command still running? If it was started again, open the address that it printed.",
      );
    });
    if (mine !== shown) return;
    const isFirst = main.dataset.view === undefined;
    main.dataset.view = view;
    main.replaceChildren(place);
    scrollTo(0, 0);
    leave = show(place, { what, query: new URLSearchParams(query) }) ?? null;
    // Where the keyboard goes on, and what a screen reader reads.
    if (!isFirst) main.focus({ preventScroll: true });
  } catch (error) {
    main.replaceChildren(h("h1", "Not shown"), problem(error));
  }
}

/** Tell of an end or of what needs a person, on every view. A batch tells of its rows itself. */
function notify(notification) {
  if (notification.source?.type === "batch") return;
  const what = notification.source?.key?.split("/").pop() ?? notification.job_id ?? notification.recipe ?? "";
  const text = [what, plain(notification.status)].filter(Boolean).join(": ");
  announce(text);
  const href = notification.job_id ? `#/jobs/${encodeURIComponent(notification.job_id)}` : undefined;
  const isShown = location.hash === href || (notification.batch && location.hash.startsWith("#/batches/"));
  if (!isShown) toast(text, { href });
}

async function start() {
  document.getElementById("skip").addEventListener("click", event => {
    event.preventDefault();
    main.focus();
  });
  try {
    await begin();
  } catch (error) {
    main.replaceChildren(h("h1", "The console cannot be used"), problem(error));
    return;
  }
  document.getElementById("stack").append(session.laptop ? "on this laptop" : `${session.stack} · ${session.region}`);
  if (session.time_scale)
    document.getElementById("stack").append(h("span.pace", `, waits ${faster(session.time_scale)}`));
  document.getElementById("laptop-link").hidden = !session.laptop;
  const live = document.getElementById("live");
  const say = (isLive, otherwise) => {
    live.textContent = isLive ? "Live" : otherwise;
    live.classList.toggle("on", isLive);
  };
  on("live", isLive => say(isLive, "Reconnecting"));
  on("answers", isAnswered => say(isAnswered, "AWS does not answer"));
  const intake = overview => (document.getElementById("stopped").hidden = !overview.intake_stopped);
  on("overview", intake);
  on("notification", notify);
  addEventListener("hashchange", route);
  // A file that misses its place must not replace the page.
  for (const kind of ["dragover", "drop"]) addEventListener(kind, event => event.preventDefault());
  setInterval(refreshAges, 1000);
  await route();
  listen();
  get("/api/overview").then(intake, () => {});
}

start();
