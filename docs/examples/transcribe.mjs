// Speech to text through the gateway with openai-node: node transcribe.mjs transcribe|stream|translate FILE
//
// The SDK reads OPENAI_BASE_URL (the gateway's address with /v1) and OPENAI_API_KEY (a key of the gateway).

import fs from "node:fs";
import OpenAI, { toFile } from "openai";

const client = new OpenAI({ maxRetries: 2, timeout: 900_000 });

async function transcribe(path) {
  // A stream reads the file while it is sent, so a large file needs no memory. The SDK cannot retry a stream. To get
  // retries, send bytes, as in `translate`.
  const file = fs.createReadStream(path);
  const response = await client.audio.transcriptions.create({ model: "gpt-4o-transcribe", file });
  console.log(response.text);
}

async function translate(path) {
  const file = await toFile(fs.promises.readFile(path), path);
  const response = await client.audio.translations.create({ model: "whisper-1", file });
  console.log(response.text);
}

async function stream(path) {
  const file = fs.createReadStream(path);
  const events = await client.audio.transcriptions.create({ model: "gpt-4o-mini-transcribe", stream: true, file });
  for await (const event of events) {
    if (event.type === "transcript.text.delta") process.stdout.write(event.delta);
    if (event.type === "transcript.text.done") return console.log();
  }
  // A broken connection may end the loop without an error. Only `done` means that the transcript is complete.
  throw new Error("the stream was cut; the transcript is incomplete");
}

const [task, path] = process.argv.slice(2);
try {
  await { transcribe, translate, stream }[task](path);
} catch (error) {
  // The operator can find the request by its id in the gateway's log and ledger.
  const prefix = error instanceof OpenAI.APIError ? `${error.status} ${error.code} (${error.requestID}): ` : "";
  console.error(`${prefix}${error.message}`);
  process.exitCode = 1;
}
