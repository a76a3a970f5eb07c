// Ask for a video and wait for it, with types that are generated from docs/openapi.json:
//   npm ci && npx openapi-typescript ../../../docs/openapi.json --output schema.d.ts && npx tsc
//   API_URL=… AWS_REGION=… AWS_ACCESS_KEY_ID=… AWS_SECRET_ACCESS_KEY=… node ask.js ORDER_NUMBER "A paper boat"
// Repeat the command with the same number and words after a crash: it is the same job, paid once. Exits with 0 only if
// there is a video.
import { AwsClient } from "aws4fetch";
import createClient from "openapi-fetch";
import type { paths } from "./schema.js";

const { API_URL, AWS_REGION, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN } = process.env;
const aws = new AwsClient({
  accessKeyId: AWS_ACCESS_KEY_ID!,
  secretAccessKey: AWS_SECRET_ACCESS_KEY!,
  sessionToken: AWS_SESSION_TOKEN,
  service: "execute-api",
  region: AWS_REGION,
  retries: 0,
});
const api = createClient<paths>({ baseUrl: API_URL, fetch: (request) => aws.fetch(request) });
const pause = () => new Promise((wait) => setTimeout(wait, 2000));

type Answer<T> = { data?: T; error?: unknown; response: Response };
async function ask<T extends { job_id: string }>(call: () => Promise<Answer<T>>): Promise<T> {
  for (;;) {
    try {
      const { data, error, response } = await call();
      if (data?.job_id) return data;
      if (response.status >= 400 && response.status < 500 && response.status !== 429) {
        console.error(JSON.stringify(error));
        process.exit(1);
      }
      console.error(`Asking again after ${response.status}.`);
    } catch {
      console.error("Asking again after no answer, or one that is not JSON.");
    }
    await pause();
  }
}

const [key, prompt] = process.argv.slice(2);
if (!key || !prompt) throw new Error("Give an order's number and a prompt.");
const { job_id } = await ask(() =>
  api.POST("/videos", {
    params: { header: { "Idempotency-Key": key } },
    body: { model_id: "bytedance/seedance-2.0", prompt },
  }),
);
const ended = ["succeeded", "failed", "canceled", "uncertain", "timed_out"];
for (;;) {
  const job = await ask(() => api.GET("/videos/{job_id}", { params: { path: { job_id } } }));
  if (ended.includes(job.status)) {
    console.log(JSON.stringify(job));
    process.exit(job.status === "succeeded" ? 0 : 1);
  }
  await pause();
}
