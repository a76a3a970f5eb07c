/**
 * The cloud on this laptop: the stand-in for Genviral with its faults, and the inbox of notifications.
 */
import { button, field, h, Part, problem, title } from "./dom.js";
import { json } from "./job.js";
import { get, on, post } from "./server.js";
import { chip, many, plain, since } from "./words.js";

export function show(place) {
  title("Laptop");
  const part = name => new Part(h(name));
  const [state, switches, inbox, pace] = [part("section.card"), part("section.card"), part("section.card"), part("section.card")];
  const trouble = h("div");
  place.append(h("h1", "This laptop"), h("p.soft", "Genviral is a stand-in here: nothing is charged, and its faults are switches."), trouble,
    h("div.columns.even", h("div.stack", state.element, switches.element, pace.element), inbox.element));

  async function read() {
    try {
      fill(await get("/api/laptop"));
      trouble.replaceChildren();
    } catch (error) {
      trouble.replaceChildren(problem(error));
    }
  }

  function fill(found) {
    const account = found.state?.account ?? found.state?.accounts?.valid ?? found.state ?? {};
    const seconds = found.state?.generation_seconds ?? found.state?.settings?.generation_seconds;
    const faults = found.state?.faults ?? [];
    state.show([account.state, account.credits, faults], () => makeState(account, faults));
    switches.show([found.switches, found.state?.switch], () => makeSwitches(found, read));
    pace.show([seconds, found.time_scale], () => makePace(seconds, found.time_scale, read));
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

const ACCOUNTS = { valid: ["good", "valid"], no_credits: ["held", "no credits"], no_plan: ["held", "no plan"], revoked: ["bad", "key revoked"], scheduler: ["held", "a plan without the API"] };

function makeState(account, faults) {
  const [kind, word] = ACCOUNTS[account.state] ?? ["calm", plain(account.state)];
  const planned = [...new Set(faults.map(one => typeof one === "string" ? one : `${plain(one.kind)} on ${one.route}`))];
  return [h("h2", "The account"), h("p.dots", h("span", { class: `chip is-${kind}` }, word), h("span", `${many(account.credits ?? 0, "credit")} left`)),
    planned.length ? h("p", "Planned faults: ", planned.join(", "), ".") : h("p.soft", "No fault is planned.")];
}

function makeSwitches(found, read) {
  return [h("h2", "Switches"), h("ul.switches", found.switches.map(one => h("li",
    button(plain(one.name.replaceAll("-", " ")), () => post(`/api/laptop/${one.name}`).then(read), { "data-key": one.name, class: one.name === "normal" ? "primary" : "" }),
    h("p.soft", { id: `switch-${one.name}` }, one.text))))];
}

function makePace(seconds, scale, read) {
  const input = h("input", { type: "number", min: 0, max: 86400, step: "any", value: seconds ?? "", "data-key": "seconds" });
  return [h("h2", "Time"), h("form.inline", { onsubmit: async event => {
    event.preventDefault();
    await post("/api/laptop/settings", { generation_seconds: Number(input.value) });
    read();
  } }, field("A video takes, in seconds", input), h("button", { type: "submit", "data-key": "set" }, "Set")),
  h("p.soft", !scale || scale === 1 ? "Waits take as long as on AWS." : `Waits are shortened: they take ${scale} times as long as on AWS.`)];
}

function makeInbox(messages = []) {
  return [h("h2", "Inbox"), messages.length ? h("ol.inbox", messages.map(one => {
    const about = one.source?.key?.split("/").pop() ?? one.recipe ?? one.job_id ?? "";
    return h("li", h("p.dots", chip(one.status), one.job_id ? h("a", { href: `#/jobs/${encodeURIComponent(one.job_id)}` }, about) : h("span", about),
      one.occurred_at ? h("span.soft", since(one.occurred_at)) : null),
    h("p", one.summary ?? ""), h("details", h("summary", { "data-key": one.notification_id }, "As it was sent"), json(one)));
  })) : h("p.soft", "No notification yet. Each end, hold or interruption sends one.")];
}
