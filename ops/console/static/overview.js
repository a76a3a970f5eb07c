/**
 * The whole at a glance: what is open, what needs a person, what was spent, and the switch for new jobs.
 */
import { ask } from "./dialog.js";
import { attempt, button, h, Part, problem, title, toast } from "./dom.js";
import { get, on, post } from "./server.js";
import { chip, credits, duration, many, plain } from "./words.js";

export function show(place) {
  title("Overview");
  const part = name => new Part(h(name));
  const [tiles, statuses, spent, models, alarms, intake] = [
    part("ul.tiles"),
    part("section.card"),
    part("section.card"),
    part("section.card"),
    part("section.card"),
    part("section.card"),
  ];
  const findings = h("div", { "aria-live": "polite" });
  const doctor = h(
    "section.card",
    h("h2", "Does all of it work?"),
    h("p.soft", "Checks the stack from end to end. It pays nothing and takes some seconds."),
    h("div.actions", button("Check it", examine)),
    findings,
  );
  const trouble = h("div");
  place.append(
    h("h1", "Overview"),
    trouble,
    tiles.element,
    h(
      "div.columns.even",
      h("div.stack", statuses.element, spent.element, intake.element),
      h("div.stack", doctor, models.element, alarms.element),
    ),
  );

  const read = () => attempt(trouble, async () => fill(await get("/api/overview")));

  function fill(found) {
    document.getElementById("stopped").hidden = !found.intake_stopped;
    tiles.show([found.open, found.held, found.uncertain, found.waits_for_person], () => [
      tile("Open", found.open, "moving", "#/jobs"),
      tile("On hold", found.held, "held", "#/jobs?status=on_hold"),
      tile("Uncertain", found.uncertain, "odd", "#/jobs?status=uncertain"),
      tile("Need a person", found.waits_for_person, "bad", "#/jobs"),
    ]);
    statuses.show([found.counts, found.more], makeCounts);
    spent.show(found.credits, makeSpent);
    models.show(found.models, makeModels);
    alarms.show(found.alarms, makeAlarms);
    intake.show(found.intake_stopped, stopped => makeIntake(stopped, read));
  }

  async function examine() {
    findings.replaceChildren(h("p.soft", "Checking …"));
    try {
      const { findings: found } = await post("/api/doctor");
      const isWrong = one => one.state === "warning" || one.state === "problem";
      const [wrong, unknown] = [found.filter(isWrong), found.filter(one => one.state === "unknown")];
      const sum = [
        wrong.length ? `${many(wrong.length, "check")} of ${found.length} found something.` : "Nothing is wrong.",
        unknown.length ? `${many(unknown.length, "check")} could not be made.` : "",
      ];
      findings.replaceChildren(
        h("p", sum.join(" ").trim()),
        h("ul.findings", [...wrong, ...unknown, ...found.filter(one => one.ok)].map(makeFinding)),
      );
    } catch (error) {
      findings.replaceChildren(problem(error));
    }
  }

  read();
  const offs = [on("overview", fill), on("live", isLive => isLive && read())];
  return () => offs.forEach(off => off());
}

const counted = (count, isMore) => `${count.toLocaleString("en")}${isMore ? " or more" : ""}`;

const tile = (name, count, kind, href) =>
  h("li", h("a.tile", { href, class: count ? `is-${kind}` : "" }, h("strong", counted(count)), h("span", name)));

function makeCounts([counts, more = []]) {
  return [
    h("h2", "Jobs by status"),
    h(
      "ul.counts",
      Object.entries(counts).map(([status, count]) =>
        h(
          "li",
          h("a", { href: `#/jobs?status=${encodeURIComponent(status)}` }, chip(status)),
          h("span", counted(count, more.includes(status))),
        ),
      ),
    ),
  ];
}

function makeSpent(money) {
  if (!money) return [];
  const used = money.used_today;
  const lines = [h("h2", "Credits today")];
  if (used === null || used === undefined) lines.push(h("p.soft", "Not counted: the stack has no daily limit."));
  else
    lines.push(h("p", money.limit ? `${credits(used)} of ${money.limit.toLocaleString("en")} a day` : credits(used)));
  if (money.limit && used !== null) {
    lines.push(
      h("meter", {
        min: 0,
        max: money.limit,
        high: money.limit * 0.8,
        optimum: 0,
        value: Math.min(used, money.limit),
        "aria-label": "Credits used today",
      }),
    );
  }
  return lines;
}

function makeModels(models) {
  if (!models?.length) return [];
  return [
    h("h2", "How long a video takes"),
    h(
      "table.facts",
      h(
        "thead",
        h(
          "tr",
          h("th", { scope: "col" }, "Model"),
          h("th", { scope: "col" }, "Usually"),
          h("th", { scope: "col" }, "Videos"),
        ),
      ),
      h(
        "tbody",
        models.map(one =>
          h("tr", h("th", { scope: "row" }, one.model_id), h("td", duration(one.median_seconds)), h("td", one.samples)),
        ),
      ),
    ),
  ];
}

function makeAlarms(alarms) {
  if (!alarms?.length) return [];
  const wrong = alarms.filter(one => one.state === "ALARM");
  return [
    h("h2", "Alarms"),
    wrong.length ? null : h("p", `None of ${many(alarms.length, "alarm")} is on.`),
    wrong.map(one => h("p", h("span.chip.is-bad", "alarm"), " ", h("strong", one.name), " ", one.reason)),
  ];
}

function makeIntake(stopped, read) {
  const start = async () => {
    try {
      await post("/api/intake", { stopped: false });
      return true;
    } catch (error) {
      // Jobs have waited: the server asks, as the command line does.
      if (error.status !== 409) throw error;
      return ask({ title: "Let jobs start?", text: [error.message], yes: "Start them, and pay", pays: true }, () =>
        post("/api/intake", { stopped: false, confirmed: true }).then(() =>
          toast("Jobs start again. What waited begins with the next sweeps; they come every 15 minutes."),
        ),
      );
    }
  };
  const stop = () =>
    ask(
      {
        title: "Let no new job start?",
        yes: "Stop",
        text: ["Jobs that were started go on. Uploads are recorded and wait; the API answers 503."],
      },
      () => post("/api/intake", { stopped: true }),
    );
  return [
    h("h2", "New jobs"),
    h("p", stopped ? "Intake is stopped: no new job starts." : "Jobs start as they come."),
    h(
      "div.actions",
      button(
        stopped ? "Let jobs start" : "Stop intake",
        () => (stopped ? start() : stop()).then(isDone => isDone && read()),
        { "data-key": "intake", class: stopped ? "primary" : "" },
      ),
    ),
  ];
}

const FOUND = {
  ok: ["fine", "good"],
  warning: ["look", "held"],
  problem: ["wrong", "bad"],
  unknown: ["cannot tell", "odd"],
};

function makeFinding(one) {
  const [word, tone] = FOUND[one.state];
  const advice = !one.ok && one.advice ? h("p.soft", one.advice) : null;
  return h(
    "li",
    h("span", { class: `chip is-${tone}` }, word),
    h("div", h("strong", plain(one.check)), one.message ? h("p", one.message) : null, advice),
  );
}
