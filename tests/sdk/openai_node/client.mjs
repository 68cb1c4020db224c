// Calls the gateway with openai-node as its documentation shows it: one JSON request on argv, one JSON line for each
// event of a stream, and a last line {ok, result} or {error}.

import fs from "node:fs";
import path from "node:path";
import OpenAI, { toFile } from "openai";

const request = JSON.parse(process.argv[2]);
const started = performance.now();

function print(line) {
  process.stdout.write(JSON.stringify(line) + "\n");
}

async function upload() {
  if (request.mode === "bytes") return toFile(fs.readFileSync(request.file), path.basename(request.file));
  return fs.createReadStream(request.file);
}

async function body() {
  const file = { file: await upload() };
  const fields = { model: request.model, ...request.fields };
  if (request.response_format) fields.response_format = request.response_format;
  if (request.stream) fields.stream = true;
  // The fields go on the wire in the order of the keys.
  return request.order === "file_last" ? { ...fields, ...file } : { ...file, ...fields };
}

async function call() {
  const client = new OpenAI({
    baseURL: request.baseURL,
    apiKey: request.apiKey,
    maxRetries: request.maxRetries ?? 2,
    timeout: request.timeout_ms ?? 30_000,
  });
  const { transcriptions, translations } = client.audio;
  const answer = await (request.translate ? translations : transcriptions).create(await body());
  if (!request.stream) return answer;
  let events = 0;
  for await (const event of answer) {
    print({ event, at_ms: performance.now() - started });
    events += 1;
  }
  return { events };
}

function describe(error) {
  const { status, code, param, type, requestID } = error;
  return { class: error.constructor.name, status, code, param, type, request_id: requestID, message: error.message };
}

try {
  print({ ok: true, result: await call() });
} catch (error) {
  print({ error: describe(error) });
}
