// Ask for a video and wait for it, with types that are generated from docs/openapi.json:
//   npm ci && npx openapi-typescript ../../../docs/openapi.json --output schema.d.ts && npx tsc
//   API_URL=… AWS_REGION=… AWS_ACCESS_KEY_ID=… AWS_SECRET_ACCESS_KEY=… node ask.js "A paper boat on a calm lake"
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

// Keep the key with your order: a repeat with the same key and body is the same job, paid once.
const { data: accepted, error } = await api.POST("/videos", {
  params: { header: { "Idempotency-Key": crypto.randomUUID() } },
  body: { model_id: "bytedance/seedance-2.0", prompt: process.argv[2] },
});
if (!accepted) throw new Error(JSON.stringify(error));

const open = ["queued", "processing", "delivering", "on_hold", "interrupted"];
for (;;) {
  const { data: job, error } = await api.GET("/videos/{job_id}", { params: { path: { job_id: accepted.job_id } } });
  if (!job) throw new Error(JSON.stringify(error));
  if (!open.includes(job.status)) {
    console.log(JSON.stringify(job));
    break;
  }
  await new Promise((wait) => setTimeout(wait, 2000));
}
