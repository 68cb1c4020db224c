// Speech to text through the gateway with openai-node: node transcribe.mjs transcribe|stream|translate FILE
//
// The SDK reads OPENAI_BASE_URL, the gateway's address with /v1, and OPENAI_API_KEY, a key of the gateway.

import fs from "node:fs";
import OpenAI, { toFile } from "openai";

const client = new OpenAI({ maxRetries: 2, timeout: 900_000 });

async function transcribe(path) {
  // Read from the disk while it is sent, so a large file takes no memory. The SDK cannot send a stream a second time:
  // what must be repeated by itself goes as bytes, as in `translate`.
  const file = fs.createReadStream(path);
  const answer = await client.audio.transcriptions.create({ model: "gpt-4o-transcribe", file });
  console.log(answer.text);
}

async function translate(path) {
  const file = await toFile(fs.promises.readFile(path), path);
  const answer = await client.audio.translations.create({ model: "whisper-1", file });
  console.log(answer.text);
}

async function stream(path) {
  const file = fs.createReadStream(path);
  const events = await client.audio.transcriptions.create({ model: "gpt-4o-mini-transcribe", stream: true, file });
  for await (const event of events) {
    if (event.type === "transcript.text.delta") process.stdout.write(event.delta);
    if (event.type === "transcript.text.done") return console.log();
  }
  // A connection that breaks may end the loop without an error; only `done` says that the transcript is whole.
  throw new Error("the stream was cut; what came of it is not the whole transcript");
}

const [task, path] = process.argv.slice(2);
try {
  await { transcribe, translate, stream }[task](path);
} catch (error) {
  // The request id finds the request in the gateway's log and ledger.
  const which = error instanceof OpenAI.APIError ? `${error.status} ${error.code} (${error.requestID}): ` : "";
  console.error(`${which}${error.message}`);
  process.exitCode = 1;
}
