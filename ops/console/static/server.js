/**
 * Talk to the console's server: calls, uploads and the stream of events.
 */

/** An answer that is an error, in words for people. */
class Refusal extends Error {
  constructor(status, { kind = "error", message = `The console answered with ${status}.`, ...more } = {}) {
    super(message);
    Object.assign(this, { status, kind, issues: more.issues, details: more });
  }
}

let under = 0;

/** Count the calls under way: the page shows a line at its top while there are any. */
function busy(step) {
  under += step;
  document.documentElement.classList.toggle("loading", under > 0);
}

async function call(...asked) {
  busy(1);
  try {
    return await answer(...asked);
  } finally {
    busy(-1);
  }
}

async function answer(method, path, { body, type = "application/json", signal } = {}) {
  const headers = method === "GET" ? {} : { "X-Console": "1", "Content-Type": type };
  let came;
  try {
    came = await fetch(path, { method, body, headers, signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    const lost = method === "GET" ? "" : " It may have done what was asked: look at the jobs before you ask again.";
    throw new Refusal(0, {
      kind: "unreachable",
      message: `The console does not answer. Is its command still running?${lost}`,
    });
  }
  const found = await came.json().catch(() => ({}));
  if (came.status === 401) {
    throw new Refusal(401, {
      message: "This page's session has ended. Open the address again that the console printed.",
    });
  }
  if (!came.ok) throw new Refusal(came.status, found.error);
  return found;
}

export const get = (path, options) => call("GET", path, options);
export const post = (path, body = {}, options) => call("POST", path, { body: JSON.stringify(body), ...options });
export const put = (path, body) => call("PUT", path, { body: JSON.stringify(body) });
/** Send a file as it is. */
export async function send(path, file) {
  await file
    .slice(0, 1)
    .arrayBuffer()
    .catch(() => {
      throw new Error(
        `${file.name} cannot be read: it is a folder, or has changed since it was chosen. Nothing was sent.`,
      );
    });
  return call("POST", path, { body: file, type: "application/octet-stream" });
}

/** A path with a query; what has no value is left out. */
export function to(path, query = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== "");
  return given.length ? `${path}?${new URLSearchParams(given)}` : path;
}

/** Facts of this console that do not change while it runs: the stack, the statuses, whether Genviral charges. */
export const session = {};

export async function begin() {
  Object.assign(session, await get("/api/session"));
}

const listeners = new Map();

/**
 * Listen to an event of the server ("job", "overview", "notification", "answers": whether AWS does), or to "live".
 * Returns how to stop.
 */
export function on(kind, listener) {
  if (!listeners.has(kind)) listeners.set(kind, new Set());
  listeners.get(kind).add(listener);
  return () => listeners.get(kind).delete(listener);
}

function tell(kind, data) {
  for (const listener of listeners.get(kind) ?? []) listener(data);
}

/** Open the stream. The browser connects again by itself; what was missed meanwhile is read anew by "live". */
export function listen() {
  const source = new EventSource("/api/events");
  source.onopen = () => tell("live", true);
  source.onerror = () => {
    tell("live", false);
    // After an answer that is no stream, a browser gives up.
    if (source.readyState === EventSource.CLOSED) setTimeout(listen, 3000);
  };
  for (const kind of ["job", "overview", "notification", "answers"]) {
    source.addEventListener(kind, event => tell(kind, JSON.parse(event.data)));
  }
}
