/**
 * The cloud on this laptop: the stand-in for Genviral with its faults, and the inbox of notifications.
 */
import { attempt, button, field, h, Part, title, toast } from "./dom.js";
import { json } from "./job.js";
import { get, on, post, session } from "./server.js";
import { chip, many, plain, shortened, since } from "./words.js";

export function show(place) {
  title("Laptop");
  const part = name => new Part(h(name));
  const [state, switches, inbox, pace] = [
    part("section.card"),
    part("section.card"),
    part("section.card"),
    part("section.card"),
  ];
  const trouble = h("div");
  place.append(
    h("h1", "This laptop"),
    h(
      "p.soft",
      session.charges
        ? "Genviral is no stand-in here: videos are paid for."
        : "Genviral is a stand-in here: nothing is charged, and its faults are switches.",
    ),
    trouble,
    h("div.columns.even", h("div.stack", state.element, switches.element, pace.element), inbox.element),
  );

  const read = () => attempt(trouble, async () => fill(await get("/api/laptop")));

  function fill(found) {
    // Without a stand-in, the stack's Partner API is another one, and nothing of it can be switched.
    state.show(found.state, makeState);
    switches.show(found.switches, () => makeSwitches(found.switches, read));
    pace.show([found.state?.generation_seconds, found.time_scale], () => makePace(found.state, found.time_scale, read));
    inbox.show(found.inbox, makeInbox);
  }

  read();
  const timer = setInterval(read, 5000);
  const offs = [on("notification", () => setTimeout(read, 100)), on("live", isLive => isLive && read())];
  return () => {
    clearInterval(timer);
    offs.forEach(off => off());
  };
}

const ACCOUNTS = {
  valid: ["good", "valid"],
  no_credits: ["held", "no credits"],
  no_plan: ["held", "no plan"],
  revoked: ["bad", "key revoked"],
  scheduler: ["held", "a plan without the API"],
};

function makeState(state) {
  if (!state) return [];
  const [kind, word] = ACCOUNTS[state.account] ?? ["calm", plain(state.account)];
  const planned = [...new Set(state.faults.map(one => `${plain(one.kind)} on ${one.route}`))];
  return [
    h("h2", "The account"),
    h(
      "p.dots",
      h("span", { class: `chip is-${kind}` }, word),
      h("span", `${many(state.credits, "credit")} left`),
      h("span.soft", `${many(state.spent ?? 0, "credit")} used`),
    ),
    planned.length ? h("p", "Planned faults: ", planned.join(", "), ".") : h("p.soft", "No fault is planned."),
  ];
}

function makeSwitches(switches, read) {
  if (!switches.length) return [];
  return [
    h("h2", "Switches"),
    h(
      "ul.switches",
      switches.map(one =>
        h(
          "li",
          button(plain(one.name.replaceAll("-", " ")), () => post(`/api/laptop/${one.name}`).then(read), {
            "data-key": one.name,
          }),
          h("p.soft", { id: `switch-${one.name}` }, one.text),
        ),
      ),
    ),
  ];
}

function makePace(state, scale, read) {
  const input = h("input", {
    type: "number",
    min: 0,
    max: 3600,
    step: "any",
    value: state?.generation_seconds ?? "",
    "data-key": "seconds",
  });
  return [
    h("h2", "Time"),
    state &&
      h(
        "form.inline",
        {
          onsubmit: async event => {
            event.preventDefault();
            await post("/api/laptop/settings", { generation_seconds: Number(input.value) }).then(read, error =>
              toast(error.message, { isError: true }),
            );
          },
        },
        field("A video takes, in seconds", input),
        h("button", { type: "submit", "data-key": "set" }, "Set"),
      ),
    h("p.soft", shortened(scale) ?? "Waits take as long as on AWS."),
  ];
}

function makeInbox(messages = []) {
  return [
    h("h2", "Inbox"),
    messages.length
      ? h(
          "ol.inbox",
          { tabindex: "0" },
          messages.map(one => {
            const file = one.source?.key?.split("/").pop();
            const about =
              (file && one.source.line ? `${file}:${one.source.line}` : file) ?? one.recipe ?? one.job_id ?? "";
            const href = one.job_id
              ? `#/jobs/${encodeURIComponent(one.job_id)}`
              : one.batch
                ? `#/batches/${encodeURIComponent(one.source.key)}`
                : null;
            return h(
              "li",
              h(
                "p.dots",
                chip(one.status),
                href ? h("a", { href }, about) : h("span", about),
                one.occurred_at ? h("span.soft", since(one.occurred_at)) : null,
              ),
              h("p", one.summary ?? ""),
              h("details", h("summary", { "data-key": one.notification_id ?? about }, "As it was sent"), json(one)),
            );
          }),
        )
      : h("p.soft", "No notification yet. Each end, hold or interruption sends one."),
  ];
}
