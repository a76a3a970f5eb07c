/**
 * The state machine as a picture, with the way of a job so far.
 */
let drawing = null;

/** Fetch the picture once; each job gets its own copy. */
async function copy() {
  drawing ??= fetch("/static/graph.svg").then(answer => answer.text()).then(text => {
    const parsed = new DOMParser().parseFromString(text, "image/svg+xml").documentElement;
    if (parsed.localName !== "svg") throw new Error("The graph cannot be read.");
    return parsed;
  });
  return document.importNode(await drawing, true);
}

/** Show the way in an element. `path`: the states entered, in order; `present`: where the job is, or null. */
export async function draw(place, path, present) {
  let picture = place.querySelector("svg");
  if (!picture) {
    picture = await copy();
    if (place.querySelector("svg")) return draw(place, path, present);
    picture.setAttribute("role", "img");
    place.replaceChildren(picture);
  }
  const entered = new Set(path);
  const walked = new Set(path.slice(1).map((name, index) => `${path[index]}→${name}`));
  for (const state of picture.querySelectorAll(".state")) {
    const name = state.id.replace("state-", "");
    state.classList.toggle("visited", entered.has(name));
    state.classList.toggle("present", name === present);
  }
  for (const way of picture.querySelectorAll(".way")) {
    const isWalked = walked.has(`${way.dataset.from}→${way.dataset.to}`);
    // Lines share parts: what was walked is drawn over what was not.
    if (isWalked && !way.classList.contains("walked")) picture.insertBefore(way, picture.querySelector(".state"));
    way.classList.toggle("walked", isWalked);
  }
  const last = present ?? path.at(-1);
  picture.setAttribute("aria-label", path.length
    ? `The state machine. The job ${present ? "is now in" : "ended in"} ${last}, after ${path.length - 1} steps.`
    : "The state machine. The job has not begun.");
}
