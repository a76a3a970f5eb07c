/**
 * Ask before something is done that costs, or cannot be taken back.
 */
import { h, problem, toast } from "./dom.js";
import { session } from "./server.js";

/**
 * Ask a question in a dialog.
 * @param {object} asked
 * @param {string} asked.title what would be done
 * @param {(string|Node)[]} asked.text the question, in paragraphs
 * @param {string} asked.yes the button that does it
 * @param {boolean} [asked.pays] whether it costs credits
 * @param {Node[]} [asked.fields] what else to fill in
 * @param {() => Promise<any>} work what to do then; what it throws is shown in the dialog
 * @returns {Promise<boolean>} whether it was done
 */
export function ask({ title, text, yes, pays = false, fields = [] }, work) {
  return new Promise(resolve => {
    const trouble = h("div");
    const no = h("button", { type: "button", onclick: () => box.close() }, "Leave it");
    const go = h("button", { type: "button", class: pays ? "pays" : "primary", onclick: run }, yes);
    const box = h(
      "dialog",
      { "aria-labelledby": "dialog-title", onclose: end },
      h("h2", { id: "dialog-title" }, title),
      text.filter(Boolean).map(line => (line instanceof Node ? line : h("p", line))),
      fields,
      trouble,
      h("div.actions", no, go),
    );
    let isDone = false;
    let isClosed = false;

    async function run() {
      go.disabled = no.disabled = true;
      go.setAttribute("aria-busy", "true");
      try {
        await work();
        isDone = true;
        box.close();
        resolve(true);
      } catch (error) {
        if (isClosed) {
          toast(error.message, { isError: true });
          resolve(false);
        }
        trouble.replaceChildren(problem(error));
        go.disabled = no.disabled = false;
        go.removeAttribute("aria-busy");
      }
    }

    /** The Escape key closes a dialog at any time. Work that has begun still goes on, and is waited for. */
    function end() {
      isClosed = true;
      box.remove();
      if (!go.disabled) resolve(isDone);
    }

    document.body.append(box);
    box.showModal();
    (fields.length ? box.querySelector("input, select, textarea") : no)?.focus();
  });
}

/** Do what costs, once at a time. Where Genviral charges for it, people are asked first. */
export async function payFor(question, price, go, work, fail) {
  if (go.getAttribute("aria-busy") === "true") return;
  go.disabled = true;
  go.setAttribute("aria-busy", "true");
  try {
    if (session.charges) await ask({ title: question, text: [`${price}.`], yes: "Make it, and pay", pays: true }, work);
    else await work();
  } catch (error) {
    fail(error);
  } finally {
    go.disabled = false;
    go.removeAttribute("aria-busy");
  }
}
