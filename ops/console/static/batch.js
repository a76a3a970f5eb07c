/**
 * A batch: what the check found, then the run, row by row.
 */
import { ask } from "./dialog.js";
import { button, h, Part, problem, title } from "./dom.js";
import { batchIn, check, dropsOn, fileOf } from "./drop.js";
import { get, on, send, to } from "./server.js";
import { chip, credits, many, plain, tone } from "./words.js";

const GOES_ON = ["arriving", "running"];

export function show(place, { what: key, query }) {
  title("Batch");
  const part = name => new Part(h(name));
  const [head, sum, wrong, actions, rows] = [
    part("header"),
    part("section.card"),
    part("section.card"),
    part("div.actions"),
    part("section.card"),
  ];
  const trouble = h("div");
  let timer = 0;
  let isLeft = false;
  let isFirst = true;
  const file = fileOf(key, query.get("version_id"));
  const zone = dropsOn(place, {
    text: "Drop the file here again to run it",
    onError: fail,
    take: async files => {
      const batch = batchIn(files);
      if (!batch) throw new Error("A batch is a .csv or .jsonl file.");
      await check(batch);
    },
  });

  function fail(error) {
    trouble.replaceChildren(problem(error));
  }

  async function read() {
    clearTimeout(timer);
    try {
      const batch = await get(to("/api/batches", { key, version_id: query.get("version_id") }));
      if (isLeft) return;
      trouble.replaceChildren();
      fill(batch);
      if (GOES_ON.includes(batch.status)) timer = setTimeout(read, isFirst ? 500 : 1000);
      isFirst = false;
    } catch (error) {
      if (isLeft) return;
      fail(error);
      timer = setTimeout(read, 3000);
    }
  }

  function fill(batch) {
    const isCheck = /\.check\.(csv|jsonl)$/i.test(batch.key ?? key);
    title(`${batch.name}: ${plain(batch.status)}`);
    head.show([batch.name, batch.status, isCheck], () =>
      h("div.name", h("h1", batch.name), chip(batch.status), h("span.soft", isCheck ? "check: nothing is paid" : "")),
    );
    sum.show(
      [batch.counts, batch.rows, batch.status, batch.credits_estimated, batch.credits_used, batch.error, batch.advice],
      () => makeSum(batch, isCheck),
    );
    wrong.show(batch.wrong_rows, makeWrong);
    actions.show([isCheck, batch.status, batch.credits_estimated, batch.counts], () => makeActions(batch, isCheck));
    rows.show([batch.items, batch.more], makeRows);
    zone.hidden = !isCheck || Boolean(file) || GOES_ON.includes(batch.status);
  }

  function makeActions(batch, isCheck) {
    if (!isCheck || batch.status !== "checked" || !file) return [];
    const good = batch.counts?.valid ?? 0;
    if (!good) return [h("p.soft", "No row of it would make a new video.")];
    const price =
      batch.credits_estimated === undefined ? "at the models' prices" : `about ${credits(batch.credits_estimated)}`;
    return [
      h(
        "button.pays",
        {
          type: "button",
          "data-key": "run",
          onclick: () =>
            ask(
              {
                title: `Run ${many(good, "row")}?`,
                text: [`Each is a video and is paid for: ${price}. Rows that were paid for before cost nothing.`],
                yes: "Run it, and pay",
                pays: true,
              },
              async () => {
                const sent = await send(to("/api/batches", { name: file.name, check: 0 }), file);
                location.hash = to(`#/batches/${encodeURIComponent(sent.key)}`, { version_id: sent.version_id });
              },
            ),
        },
        `Run ${many(good, "row")} · ${price}`,
      ),
    ];
  }

  place.append(
    h("p.back", h("a", { href: "#/jobs?source=batch" }, "← Jobs of batches")),
    head.element,
    trouble,
    actions.element,
    zone,
    sum.element,
    wrong.element,
    rows.element,
  );
  zone.hidden = true;
  read();
  let soon = 0;
  const off = on("job", job => {
    if (job.source?.type !== "batch" || isFirst) return;
    clearTimeout(soon);
    soon = setTimeout(read, 300);
  });
  return () => {
    isLeft = true;
    clearTimeout(timer);
    clearTimeout(soon);
    off();
  };
}

function makeSum(batch, isCheck) {
  const counts = Object.entries(batch.counts ?? {});
  const total = counts.reduce((sum, [, count]) => sum + count, 0);
  const all = batch.rows ?? total;
  const done = counts
    .filter(
      ([status]) => ["good", "bad"].includes(tone(status)) || ["uncertain", "canceled", "timed_out"].includes(status),
    )
    .reduce((sum, [, count]) => sum + count, 0);
  const parts = [h("h2", isCheck ? "What the check found" : "Progress")];
  if (batch.error) parts.push(h("p.error", batch.error.message));
  if (total) {
    parts.push(
      h(
        "div.bar",
        {
          role: "progressbar",
          "aria-valuemin": 0,
          "aria-valuemax": all,
          "aria-valuenow": done,
          "aria-label": `${done} of ${many(all, "row")} have ended`,
        },
        counts.map(([status, count]) => segment(status, count / (all || 1))),
      ),
    );
    parts.push(
      h(
        "p.dots",
        counts.map(([status, count]) => h("span", chip(status), ` ${count.toLocaleString("en")}`)),
      ),
    );
  }
  const money = isCheck
    ? batch.credits_estimated !== undefined && `The new rows cost about ${credits(batch.credits_estimated)}.`
    : batch.credits_used !== undefined &&
      `The videos cost ${credits(batch.credits_used)}; ${credits(batch.credits_new ?? 0)} of it since this upload.`;
  if (money) parts.push(h("p", money));
  if (batch.rows_without_price) parts.push(h("p", `${many(batch.rows_without_price, "row")} without a known price.`));
  if (batch.advice) parts.push(h("p", h("strong", "What to do: "), batch.advice));
  if (parts.length === 1)
    parts.push(
      h(
        "p.soft",
        batch.status === "arriving" ? "The file has arrived and is about to be read." : "No row is known yet.",
      ),
    );
  return parts;
}

function segment(status, share) {
  const part = h("span", { class: `is-${tone(status)}` });
  part.style.flexGrow = String(share);
  return part;
}

function makeWrong(rows) {
  if (!rows?.length) return [];
  return [
    h("h2", `${many(rows.length, "problem")} in rows`),
    h(
      "ul.wrong",
      rows
        .slice(0, 200)
        .map(row =>
          h(
            "li",
            h("strong", `line ${row.line}`),
            row.column ? h("code", row.column) : null,
            h("span", row.message || plain(row.status)),
            row.job_id ? h("a", { href: `#/jobs/${encodeURIComponent(row.job_id)}` }, "job") : null,
          ),
        ),
    ),
  ];
}

function makeRows([rows, more]) {
  if (!rows?.length) return [];
  return [
    h("h2", "Rows"),
    more
      ? h("p.soft", `The first ${many(rows.length, "row")}; the report has ${more.toLocaleString("en")} more.`)
      : null,
    h(
      "ol.rows",
      { tabindex: "0" },
      rows.map(row =>
        h(
          "li",
          h("span.line", row.line),
          chip(row.status),
          !row.job_id
            ? null
            : row.status === "valid"
              ? h("code", row.job_id)
              : h("a", { href: `#/jobs/${encodeURIComponent(row.job_id)}` }, row.job_id),
          row.error?.message ? h("span.soft", row.error.message) : null,
        ),
      ),
    ),
  ];
}
