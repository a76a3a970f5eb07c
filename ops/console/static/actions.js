/**
 * What a person may do with a job, with the questions that the command line asks.
 */
import { ask } from "./dialog.js";
import { field, h } from "./dom.js";
import { post } from "./server.js";

const WORDS = {
  cancel: ["Cancel this job?", "Cancel it"],
  attach: ["Attach a video?", "Attach it"],
  resubmit: ["Send the paid call again?", "Send it again, and pay"],
  redrive: ["Resume where it stopped?", "Resume it"],
};

/** Ask, then do it. Returns whether it was done. */
export function act(job, command) {
  const [title, yes] = WORDS[command.name] ?? [command.name, command.name];
  const wanted = command.fields ?? [];
  const send = body =>
    post(`/api/jobs/${encodeURIComponent(job.job_id)}/${command.name}`, {
      confirmed: true,
      seen: command.seen,
      ...body,
    });
  // The command line does not ask either.
  if (!command.question && !wanted.length) return send({}).then(() => true);
  const inputs = {};
  const fields = [];
  if (wanted.includes("video_id")) {
    inputs.video_id = h("input", {
      type: "text",
      value: command.defaults?.video_id ?? "",
      autocomplete: "off",
      spellcheck: "false",
    });
    fields.push(field("Genviral's id of the video", inputs.video_id, "Empty: the one that the job names."));
  }
  const boxes = {
    replace: "Even if the job has another video",
    force: "Even if Genviral does not know it, or another job has it",
  };
  for (const [name, text] of Object.entries(boxes)) {
    if (!wanted.includes(name)) continue;
    inputs[name] = h("input", { type: "checkbox" });
    fields.push(h("label.box", inputs[name], text));
  }
  return ask({ title, text: [command.question ?? "This pays nothing."], yes, pays: command.pays, fields }, () => {
    const body = {};
    if (inputs.video_id?.value.trim()) body.video_id = inputs.video_id.value.trim();
    if (inputs.replace) body.replace = inputs.replace.checked;
    if (inputs.force) body.force = inputs.force.checked;
    return send(body);
  });
}
