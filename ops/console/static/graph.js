/**
 * The state machine as a picture, with the way of a job so far.
 */
let drawing = null;

/** Fetch the picture once; each job gets its own copy. */
async function copy() {
  drawing ??= fetch("/static/graph.svg")
    .then(answer => answer.text())
    .then(text => {
      const parsed = new DOMParser().parseFromString(text, "image/svg+xml").documentElement;
      if (parsed.localName !== "svg") throw new Error("The graph cannot be read.");
      return parsed;
    });
  return document.importNode(await drawing, true);
}

/**
 * Show the way in an element.
 * @param {string[]} path the states that were entered, in order
 * @param {string|null} present where the job is
 * @param {string|null} stopped where it was interrupted
 */
export async function draw(place, path, present, stopped) {
  let picture = place.querySelector("svg");
  if (!picture) {
    picture = await copy();
    if (place.querySelector("svg")) return draw(place, path, present, stopped);
    picture.setAttribute("role", "img");
    place.replaceChildren(picture);
  }
  const entered = new Set(path);
  const walked = new Set(path.slice(1).map((name, index) => `${path[index]}→${name}`));
  for (const state of picture.querySelectorAll(".state")) {
    const name = state.id.replace("state-", "");
    state.classList.toggle("visited", entered.has(name));
    state.classList.toggle("present", name === present);
    state.classList.toggle("stopped", name === stopped);
  }
  for (const way of picture.querySelectorAll(".way")) {
    const isWalked = walked.has(`${way.dataset.from}→${way.dataset.to}`);
    // Lines share parts: what was walked is drawn over what was not.
    if (isWalked && !way.classList.contains("walked")) picture.insertBefore(way, picture.querySelector(".state"));
    way.classList.toggle("walked", isWalked);
  }
  const last = present ?? path.at(-1);
  picture.setAttribute(
    "aria-label",
    path.length
      ? `The state machine. The job ${present ? "is now in" : stopped ? "was interrupted in" : "ended in"} ${last}, after ${path.length - 1} steps.`
      : "The state machine. The job has not begun.",
  );
}
