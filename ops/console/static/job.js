/**
 * One job: where it is, its video, what happened, and what a person can do.
 */
import { act } from "./actions.js";
import { announce, everySecond, h, Part, problem, title, toast } from "./dom.js";
import { draw } from "./graph.js";
import { get, on, session } from "./server.js";
import {
  bytes,
  chip,
  clock,
  cost,
  credits,
  duration,
  isOver,
  paid,
  plain,
  secondsSince,
  shortened,
  since,
} from "./words.js";

export function show(place, { what: jobId }) {
  title(jobId);
  const part = name => new Part(h(name));
  const [head, next, player, facts, actions, time, request, notification, all] = [
    part("header.jobhead"),
    part("section.card.next"),
    part("div.player"),
    part("section.card.asked"),
    part("div.actions"),
    part("div"),
    part("section.card"),
    part("section.card"),
    part("section.card"),
  ];
  const graph = h("div.graph");
  const trouble = h("div");
  let timer = 0;
  let status = null;
  let isLeft = false;

  async function read() {
    clearTimeout(timer);
    try {
      const found = await get(`/api/jobs/${encodeURIComponent(jobId)}`);
      if (isLeft) return;
      trouble.replaceChildren();
      fill(found);
      // The execution ends a moment after its job.
      if (!isOver(found.job.status) || found.present) timer = setTimeout(read, pause(found));
    } catch (error) {
      if (isLeft) return;
      trouble.replaceChildren(problem(error));
      if (error.status !== 404) timer = setTimeout(read, 5000);
    }
  }

  function fill(found) {
    const { job } = found;
    if (job.status !== status) {
      if (status) announce(`${job.made_of}: ${plain(job.status)}`);
      status = job.status;
      title(`${job.made_of}: ${plain(status)}`);
    }
    head.show(
      [
        job.made_of,
        job.status,
        job.job_id,
        job.recipe,
        job.model_id,
        cost(job),
        job.created_at,
        paid(job),
        job.waits_for_person,
      ],
      () => makeHead(job),
    );
    next.show([found.next_step, found.next_command, job.error, job.retrying, job.waits_for_person, job.estimate], () =>
      makeNext(found),
    );
    next.element.classList.toggle("held", Boolean(job.waits_for_person));
    next.element.classList.toggle("bad", job.status === "failed");
    player.show([found.video, job.thumbnail, job.status], () => makePlayer(found));
    facts.show([found.asked, found.video, job.made_of], () => makeFacts(found));
    actions.show([found.commands, found.request === null, job.source], () => makeActions(found, read));
    time.show([found.timeline, found.next_poll_at, job.next_try_at], () => makeTimeline(found));
    request.show(found.request, makeRequest);
    notification.show(found.notification, makeNotification);
    all.show([found.facts, found.links], () => makeAll(found));
    draw(graph, found.path ?? [], found.present, found.stopped_in);
  }

  const course = h("section.card.course", h("h2", "What happens"), h("div.both", graph, time.element));
  if (shortened(session.time_scale)) course.append(h("p.hint", shortened(session.time_scale)));
  place.append(
    h("p.back", h("a", { href: "#/jobs" }, "← All jobs")),
    trouble,
    head.element,
    h("div.columns", h("div.side", player.element, facts.element), h("div.main", next.element, actions.element, course)),
    h("div.lower", request.element, notification.element, all.element),
  );
  read();
  const offs = [on("job", job => job.job_id === jobId && read()), on("live", isLive => isLive && status && read())];
  return () => {
    isLeft = true;
    clearTimeout(timer);
    offs.forEach(off => off());
  };
}

/** Milliseconds until the job is read again. Events tell of its record; its polls are only in its execution. */
function pause(found) {
  if (session.laptop) return 1000;
  const due = found.next_poll_at ? -secondsSince(found.next_poll_at) * 1000 + 2000 : 0;
  return Math.min(Math.max(due, 5000), 60_000);
}

function makeHead(job) {
  const words = [
    job.recipe && h("span", "recipe ", h("a", { href: `#/recipes/${encodeURIComponent(job.recipe)}` }, job.recipe)),
    job.model_id && h("span", job.model_id),
    h("span", since(job.created_at)),
    h("span", job.credits_used === undefined ? paid(job) : `${paid(job)}, ${credits(job.credits_used)}`),
  ];
  const copied = h("span.unseen", { role: "status" });
  const copy = h(
    "button.quiet",
    {
      type: "button",
      "data-key": "copy",
      title: "Copy the id",
      onclick: async () => {
        await navigator.clipboard.writeText(job.job_id);
        copied.textContent = "Copied";
        copy.textContent = "copied";
        setTimeout(() => (copy.textContent = "copy"), 2000);
      },
    },
    "copy",
  );
  return [
    h("div.name", h("h1", job.made_of), chip(job.status), job.waits_for_person ? h("span.needs", "needs you") : null),
    h("p.soft.dots", words),
    h("p.soft.id", h("code", job.job_id), copy, copied),
  ];
}

function makeNext({ job, next_step: sentence, next_command: command }) {
  const error = job.error;
  const step = sentence?.replaceAll(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, moment =>
    clock(moment === job.next_try_at ? nextTry(job) : moment),
  );
  const parts = [];
  if (error) {
    parts.push(h("p.error", error.message ?? plain(error.code)));
    if (error.issues?.length) {
      parts.push(
        h(
          "ul",
          error.issues.map(issue => h("li", issue.path ? h("code", issue.path) : null, " ", issue.message)),
        ),
      );
    }
    const where = /^https:\/\//.test(error.action_url ?? "")
      ? [" ", h("a", { href: error.action_url, target: "_blank", rel: "noreferrer" }, "Go there")]
      : null;
    if (error.advice) parts.push(h("p", h("strong", "What to do: "), error.advice, where));
  }
  if (job.retrying) {
    parts.push(
      h(
        "p",
        `${job.retrying.error?.message ?? ""} Tried ${job.retrying.tries} times; again by ${clock(job.retrying.next_try_by)}.`,
      ),
    );
  }
  if (step) parts.push(error ? h("p", h("strong", "Next: "), step) : h("p.sentence", step));
  if (command?.length) {
    parts.push(h("p.soft", "On a terminal: ", h("code", ["./genviral", ...command].join(" "))));
  }
  return parts.length
    ? [h("h2", !error ? "What to do" : isOver(job.status) ? "What went wrong" : "Why it waits"), ...parts]
    : [];
}

function makePlayer({ video, job }) {
  if (video?.url) {
    return h("video", {
      src: video.url,
      controls: true,
      playsinline: true,
      preload: "metadata",
      loop: true,
      "data-key": "video",
      "aria-label": `The video of ${job.made_of}`,
      width: video.width,
      height: video.height,
    });
  }
  const thumbnail =
    job.thumbnail?.kind === "image"
      ? h("img", {
          src: job.thumbnail.url,
          alt: `The picture that was sent: ${job.made_of}`,
          onerror: event => event.target.remove(),
        })
      : null;
  const text = isOver(job.status) ? "There is no video." : "The video is shown here as soon as it is there.";
  return h("div.waiting", { class: isOver(job.status) ? "over" : "" }, thumbnail, h("p.soft", text));
}

/** What was asked for, beside what came; where they differ, it says so. */
function makeFacts({ asked, video, job }) {
  if (!asked && !video) return [];
  const differs = video?.differs ?? {};
  const sound = asked?.audio === undefined ? null : asked.audio ? "yes" : "no";
  const lines = [
    [
      "Length",
      asked?.seconds && duration(asked.seconds),
      video?.seconds && duration(video.seconds),
      differs.duration_seconds,
    ],
    ["Size", asked?.resolution, video?.width && `${video.width} × ${video.height}`, differs.resolution],
    ["Shape", asked?.aspect, video?.width && shape(video.width, video.height), differs.aspect_ratio],
    ["Frames a second", asked?.fps, video?.fps, differs.fps],
    ["Sound", sound, video && (video.audio_codec ?? "no"), differs.generate_audio],
    ["Codec", null, video?.codec],
    ["File", null, video?.bytes && bytes(video.bytes)],
  ].filter(([, wanted, got]) => wanted || got);
  const line = ([name, wanted, got, isOther]) =>
    h(
      "tr",
      h("th", { scope: "row" }, name),
      h("td", wanted ?? "–"),
      video ? h("td", got ?? "–", isOther ? h("span.needs", " differs") : null) : null,
    );
  return [
    h("h2", video ? "Asked for, and got" : "Asked for"),
    h(
      "table.facts",
      h("thead", h("tr", h("td"), h("th", { scope: "col" }, "Asked"), video ? h("th", { scope: "col" }, "Got") : null)),
      h("tbody", lines.map(line)),
    ),
    video?.url
      ? h("p", h("a", { href: video.url, download: `${job.made_of.replace(/\.[^.]*$/, "")}.mp4` }, "Save the video"))
      : null,
  ];
}

function shape(width, height) {
  const known = ["16:9", "9:16", "1:1", "4:3", "3:4", "21:9"];
  return (
    known.find(one => {
      const [across, down] = one.split(":");
      return Math.abs(width / height - across / down) < 0.02;
    }) ?? null
  );
}

function makeActions(found, read) {
  const { job } = found;
  const again = h(
    "a.button",
    { href: `#/new?from=${encodeURIComponent(job.job_id)}`, "data-key": "again" },
    "Send again with changes",
  );
  return [
    ...(found.commands ?? []).map(command =>
      h(
        "button",
        {
          type: "button",
          class: command.pays ? "pays" : "",
          "data-key": command.name,
          onclick: () =>
            act(job, command).then(
              isDone => isDone && read(),
              error => toast(error.message, { isError: true }),
            ),
        },
        LABELS[command.name] ?? command.name,
      ),
    ),
    again,
  ];
}

const LABELS = { cancel: "Cancel", attach: "Attach a video", resubmit: "Resubmit", redrive: "Redrive" };

function makeTimeline({ timeline = [], next_poll_at: poll, job }) {
  const lines = timeline.map(one =>
    h(
      `li.is-${one.kind}`,
      h("time", { datetime: one.at, title: new Date(one.at).toLocaleString() }, clock(one.at)),
      one.kind === "status"
        ? chip(one.text.replaceAll(" ", "_"))
        : h("span", one.text, one.count > 1 ? h("span.count", ` ${one.count} times`) : null),
    ),
  );
  const due = poll ?? nextTry(job);
  if (due) {
    const left = h("span", { "aria-hidden": "true" });
    lines.push(h("li.is-next", h("span", poll ? "The next poll comes " : "It is tried again ", left)));
    everySecond(left, () => {
      const seconds = -secondsSince(due);
      left.textContent = seconds > 0.5 ? `in ${duration(Math.ceil(seconds))}` : "now";
    });
  }
  return h("ol.timeline", { "aria-label": "What happened so far" }, lines);
}

/** When a job on hold is tried again. Its record tells what AWS would do; a laptop shortens that wait, too. */
function nextTry({ next_try_at: due, timeline }) {
  const begun = Date.parse(timeline?.on_hold);
  if (!due || !session.time_scale || Number.isNaN(begun)) return due;
  return new Date(begun + (Date.parse(due) - begun) * session.time_scale).toISOString();
}

function makeRequest(request) {
  if (!request) return [];
  const prompt = request.prompt ?? request.speech_text;
  return [
    h("h2", "The request"),
    prompt ? h("blockquote", prompt) : null,
    h("details", h("summary", { "data-key": "request" }, "As it is sent to Genviral"), json(request)),
  ];
}

function makeNotification(sent) {
  if (!sent) return [];
  return [
    h("h2", "The notification"),
    h("p", sent.subject ?? sent.summary),
    sent.text &&
      h("details", h("summary", { "data-key": "mail" }, "As a mail"), h("pre.mail", { tabindex: "0" }, sent.text)),
    h("details", h("summary", { "data-key": "message" }, "As a program gets it"), json(sent.message ?? sent)),
  ];
}

function makeAll({ facts = {}, links }) {
  const lines = Object.entries(facts).filter(
    ([, value]) =>
      value !== null && value !== undefined && value !== "" && value !== 0 && !(Array.isArray(value) && !value.length),
  );
  const open = Object.entries(links ?? {}).filter(([, address]) => /^https:\/\//.test(address ?? ""));
  return [
    h("h2", "All that is known"),
    open.length
      ? h(
          "p.dots",
          "In AWS's console: ",
          open.map(([name, href]) => h("a", { href, target: "_blank", rel: "noreferrer" }, name)),
        )
      : null,
    h(
      "details",
      h("summary", { "data-key": "facts" }, "Facts"),
      h(
        "dl",
        lines.map(([name, value]) => [h("dt", name), [value].flat().map(line => h("dd", String(line)))]),
      ),
    ),
  ];
}

/** A document as text. */
export const json = data => h("pre", { tabindex: "0" }, JSON.stringify(data, null, 2));
