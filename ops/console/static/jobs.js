/**
 * The list of jobs: newest first, live, with filters, and a place to drop a file.
 */
import { button, h, problem, select, title } from "./dom.js";
import { dropsOn } from "./drop.js";
import { get, on, session, to } from "./server.js";
import { chip, cost, many, plain, since } from "./words.js";

const SOURCES = ["upload", "request", "api", "batch", "execution"];
const PAGE = 50;

export function show(place, { query }) {
  title("Jobs");
  const filters = {
    status: query.get("status") ?? "",
    source: query.get("source") ?? "",
    text: query.get("text") ?? "",
  };
  const list = h("ol.jobs");
  const trouble = h("div");
  const more = h("p.more");
  const empty = h("div");
  const rows = new Map();
  let reading = new AbortController();
  let isKnown = false;

  const search = h("input", {
    type: "search",
    value: filters.text,
    "aria-label": "Search or open",
    autocomplete: "off",
    placeholder: "A name, an id, a link, a recipe, a batch …",
    spellcheck: "false",
    oninput: () => later(filter),
  });
  const status = select(
    [["", "Every status"], ...session.statuses.map(one => [one.name, plain(one.name)])],
    filters.status,
    { "aria-label": "Status", onchange: filter },
  );
  const source = select([["", "Every source"], ...SOURCES.map(one => [one, one])], filters.source, {
    "aria-label": "Source",
    onchange: filter,
  });
  const form = h("form.filters", { role: "search", onsubmit: find }, search, status, source);

  let timer = 0;
  const later = work => {
    clearTimeout(timer);
    timer = setTimeout(work, 250);
  };

  function filter() {
    clearTimeout(timer);
    Object.assign(filters, { status: status.value, source: source.value, text: search.value.trim() });
    // The address keeps the filters, without a place in the browser's history for each letter.
    history.replaceState(null, "", to("#/jobs", filters));
    return read();
  }

  /** Open what was typed: whatever `show` finds on the command line. */
  async function find(event) {
    event.preventDefault();
    const what = search.value.trim();
    if (!what) return;
    clearTimeout(timer);
    try {
      const found = await get(to("/api/find", { what }));
      if (found.jobs?.length === 1) location.hash = `#/jobs/${encodeURIComponent(found.jobs[0].job_id)}`;
      else if (found.batch) location.hash = batchAddress(found.batch);
      else if (found.recipe) location.hash = `#/recipes/${encodeURIComponent(found.recipe.name)}`;
      else if (found.jobs?.length) fill(found.jobs, null);
      else throw new Error("Nothing is called so.");
    } catch (error) {
      // What nothing is called by may still be a text in some jobs.
      await filter();
      if (!rows.size || ![undefined, 404].includes(error.status)) trouble.replaceChildren(problem(error));
    }
  }

  async function read(after = null) {
    reading.abort();
    reading = new AbortController();
    list.setAttribute("aria-busy", "true");
    try {
      const page = await get(to("/api/jobs", { ...filters, after, limit: PAGE }), { signal: reading.signal });
      trouble.replaceChildren();
      fill(page.jobs, page.after, Boolean(after));
      isKnown = true;
    } catch (error) {
      if (error.name === "AbortError") return;
      trouble.replaceChildren(problem(error));
    }
    list.removeAttribute("aria-busy");
  }

  function fill(jobs, after, isFurther = false) {
    if (!isFurther) {
      for (const id of [...rows.keys()]) if (!jobs.some(job => job.job_id === id)) drop(id);
    }
    for (const job of jobs) put(job);
    more.replaceChildren(...(after ? [button(`Show older jobs`, () => read(after))] : []));
    say();
  }

  function drop(id) {
    rows.get(id)?.element.remove();
    rows.delete(id);
  }

  /** Add a job, or show how it is now. A row keeps its place and its element, so that focus stays. */
  function put(job, isNews = false) {
    let row = rows.get(job.job_id);
    if (!row) {
      row = makeRow();
      rows.set(job.job_id, row);
      const next = [...list.children].find(other => other.dataset.created < job.created_at);
      list.insertBefore(row.element, next ?? null);
      if (isNews) row.element.classList.add("fresh");
    }
    row.show(job);
  }

  function passes(job) {
    const words = [
      job.job_id,
      job.made_of,
      job.source?.key,
      job.recipe,
      job.model_id,
      job.video_id,
      ...Object.entries(job.metadata ?? {}).map(pair => pair.join(" ")),
    ];
    return (
      (!filters.status || job.status === filters.status) &&
      (!filters.source || job.source?.type === filters.source) &&
      (!filters.text || words.some(word => word?.toLowerCase().includes(filters.text.toLowerCase())))
    );
  }

  function say() {
    const isFiltered = filters.status || filters.source || filters.text;
    empty.replaceChildren(
      ...(rows.size
        ? []
        : [
            isFiltered
              ? h(
                  "p.empty",
                  "No job matches. ",
                  h("a", { href: "#/jobs", onclick: () => setTimeout(clear) }, "Show all"),
                )
              : h("p.empty", session.laptop ? "No job yet. Drop a picture here, and watch." : "No job yet."),
          ]),
    );
    count.textContent = rows.size ? many(rows.size, "job") + (more.children.length ? " or more" : "") : "";
  }

  function clear() {
    search.value = status.value = source.value = "";
    filter();
  }

  const count = h("span.soft");
  const zone = dropsOn(place, {
    onBegin: () => trouble.replaceChildren(),
    onError: error => trouble.replaceChildren(problem(error)),
  });
  place.append(
    h("div.head", h("h1", "Jobs"), count, h("a.button.primary", { href: "#/new" }, "New video")),
    zone,
    form,
    trouble,
    list,
    empty,
    more,
  );
  read();
  const offs = [
    on("job", job => {
      if (!isKnown) return;
      if (passes(job)) put(job, true);
      else drop(job.job_id);
      say();
    }),
    on("live", isLive => isLive && isKnown && read()),
  ];
  return () => offs.forEach(off => off());
}

const batchAddress = batch => to(`#/batches/${encodeURIComponent(batch.key)}`, { version_id: batch.version_id });

function makeRow() {
  const picture = h("span.thumb", { "aria-hidden": "true" });
  const name = h("span.name");
  const made = h("span.soft.of");
  const state = h("span.state");
  const left = h("span.soft.left");
  const age = h("span.soft.age");
  const price = h("span.soft.cost");
  const link = h("a.job", h("span.what", name, made), state, left, age, price);
  const element = h("li", picture, link);
  let thumbnail;
  link.addEventListener("mouseenter", () => play(picture, true));
  link.addEventListener("mouseleave", () => play(picture, false));
  const show = job => {
    element.dataset.created = job.created_at;
    element.dataset.job = job.job_id;
    link.href = `#/jobs/${encodeURIComponent(job.job_id)}`;
    name.textContent = job.made_of;
    made.textContent = [job.recipe, job.model_id].filter(Boolean).join(" · ");
    state.replaceChildren(chip(job.status));
    if (job.waits_for_person) state.append(h("span.needs", "needs you"));
    left.textContent = job.estimate ?? "";
    if (!age.firstChild) age.append(since(job.created_at));
    price.textContent = cost(job);
    if (job.thumbnail?.url !== thumbnail) {
      thumbnail = job.thumbnail?.url;
      picture.replaceChildren(...shownSmall(job.thumbnail));
    }
  };
  return { element, show };
}

/** A small picture of a job. It is loaded when it comes into view. */
function shownSmall(thumbnail) {
  if (!thumbnail?.url) return [];
  if (thumbnail.kind === "image") {
    return [h("img", { src: thumbnail.url, alt: "", loading: "lazy", onerror: event => event.target.remove() })];
  }
  const video = h("video", {
    muted: true,
    loop: true,
    playsinline: true,
    preload: "none",
    tabindex: "-1",
    disablepictureinpicture: true,
  });
  video.dataset.src = `${thumbnail.url}#t=0.1`;
  inView.observe(video);
  return [video];
}

const inView = new IntersectionObserver(
  entries => {
    for (const { target, isIntersecting } of entries) {
      if (!isIntersecting) continue;
      inView.unobserve(target);
      target.preload = "metadata";
      target.src = target.dataset.src;
    }
  },
  { rootMargin: "200px" },
);

function play(picture, isOn) {
  const video = picture.querySelector("video");
  if (!video || matchMedia("(prefers-reduced-motion: reduce)").matches) return;
  if (isOn) video.play().catch(() => {});
  else video.pause();
}
