/**
 * Say numbers, times and statuses as people do.
 */
import { h } from "./dom.js";
import { session } from "./server.js";

export const plain = word => String(word ?? "").replaceAll("_", " ");

/** A status as a word with its colour. */
export function chip(status, text = plain(status)) {
  return h("span", { class: `chip is-${tone(status)}`, "data-status": status }, text);
}

const TONES = {
  queued: "calm",
  submitting: "moving",
  processing: "moving",
  delivering: "moving",
  running: "moving",
  arriving: "calm",
  succeeded: "good",
  valid: "good",
  finished: "good",
  checked: "good",
  known: "good",
  batch_finished: "good",
  batch_checked: "good",
  on_hold: "held",
  interrupted: "held",
  batch_interrupted: "held",
  timed_out: "held",
  uncertain: "odd",
  upload_ignored: "held",
  failed: "bad",
  refused: "bad",
  invalid: "bad",
  rejected: "bad",
  recipe_invalid: "bad",
  batch_rejected: "bad",
  canceled: "calm",
};
export const tone = status => TONES[status] ?? "calm";

export const isOver = status => session.statuses?.find(one => one.name === status)?.terminal ?? false;

/** Seconds as a length of time: 5 s, 1 min 20 s, 3 h 5 min, 2 days. */
export function duration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60)
    return seconds > 0 && seconds < 10 && seconds % 1 ? `${Math.round(seconds * 10) / 10} s` : `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min${whole % 60 ? ` ${whole % 60} s` : ""}`;
  if (whole < 2 * 86400)
    return `${Math.floor(whole / 3600)} h${whole % 3600 >= 60 ? ` ${Math.floor((whole % 3600) / 60)} min` : ""}`;
  return `${Math.floor(whole / 86400)} days`;
}

export const faster = scale => (scale < 1 ? `${Math.round(10 / scale) / 10} times faster` : `${scale} times longer`);

/** What a laptop does to the waits of the state machine; null where it does nothing. */
export const shortened = scale => (!scale || scale === 1 ? null : `Waits are ${faster(scale)} here than on AWS.`);

export const secondsSince = moment => (Date.now() - Date.parse(moment)) / 1000;

/** How long ago a moment was, in its largest unit. */
function ago(moment) {
  const seconds = Math.max(0, secondsSince(moment));
  if (seconds < 60) return `${Math.floor(seconds)} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 2 * 86400) return `${Math.floor(seconds / 3600)} h ago`;
  return `${Math.floor(seconds / 86400)} days ago`;
}

/** A moment on the clock here, with the day if it is another. */
export function clock(moment) {
  const at = new Date(moment);
  if (Number.isNaN(at.getTime())) return String(moment ?? "");
  const time = at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
  return at.toDateString() === new Date().toDateString()
    ? time
    : `${at.toLocaleDateString([], { day: "numeric", month: "short" })} ${time}`;
}

/** A moment as an element that stays right, and tells the exact time. */
export function since(moment) {
  return h("time.since", { datetime: moment, title: new Date(moment).toLocaleString() }, ago(moment));
}

/** Bring the ages on the page up to date. */
export function refreshAges() {
  for (const one of document.querySelectorAll("time.since")) {
    const text = ago(one.dateTime);
    if (one.textContent !== text) one.textContent = text;
  }
}

export function bytes(count) {
  if (count >= 1e9) return `${(count / 1e9).toFixed(2)} GB`;
  if (count >= 1e6) return `${(count / 1e6).toFixed(1)} MB`;
  return count >= 1e3 ? `${Math.round(count / 1e3)} kB` : `${count} bytes`;
}

export const credits = count => `${Math.round(count * 100) / 100} ${count === 1 ? "credit" : "credits"}`;

/** What one video of a recipe costs. */
export const costOf = recipe => (recipe.credits ? `${credits(recipe.credits)} each` : "");

export const many = (count, one, several = `${one}s`) => `${count.toLocaleString("en")} ${count === 1 ? one : several}`;

const PAID = { yes: "paid", no: "not paid", unknown: "perhaps paid" };

/** What a job cost, in two words. */
export function cost(job) {
  const used = job.credits_total ?? job.credits_used;
  if (used) return credits(used);
  return PAID[job.paid] ?? "";
}
export const paid = job => PAID[job.paid] ?? "";

/** The names of all that a placeholder takes, as "{{metadata.style|film noir}}" → ["metadata.style", "film noir"]. */
export function placeholder(text) {
  const inner = String(text).replace(/^\{\{|\}\}$/g, "");
  const bar = inner.indexOf("|");
  return bar < 0 ? [inner.trim(), ""] : [inner.slice(0, bar).trim(), inner.slice(bar + 1).trim()];
}
