// The official npm client of mem0 against this service: add, wait, search, update, delete.
//
//   cd examples/javascript && npm install && node quickstart.mjs
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";

process.env.MEM0_TELEMETRY = "false"; // read on import; only the lower-case word turns it off

const root = fileURLToPath(new URL("../../", import.meta.url));
const host = (process.env.MEMORY_SERVICE_URL || `http://127.0.0.1:${process.env.PORT || 8000}`).replace(/\/+$/, "");
const keyFile = resolve(root, process.env.DATA_DIR || ".data", "api-key");

function fail(sentence) {
  console.error(sentence);
  process.exit(1);
}

function readKey() {
  if (process.env.MEM0_API_KEY) return process.env.MEM0_API_KEY;
  try {
    return readFileSync(keyFile, "utf8").trim();
  } catch {
    return fail(`There is no API key in ${keyFile}: run \`make run\` first, or set DATA_DIR or MEM0_API_KEY.`);
  }
}

const { MemoryClient } = await import("mem0ai").catch(() =>
  fail("The mem0ai package is not installed: run `npm install` in examples/javascript first."),
);
const apiKey = readKey();
await fetch(`${host}/healthz`).catch(() =>
  fail(`Nothing answers at ${host}: start the service with \`make run\`, or set MEMORY_SERVICE_URL.`),
);
const client = new MemoryClient({ apiKey, host });
await client.ping().catch((error) => fail(`The service at ${host} refused the key. ${error.message}`));

async function wait(eventId) {
  for (let tries = 0; tries < 600; tries += 1) {
    const response = await fetch(`${host}/v1/event/${eventId}/`, { headers: { Authorization: `Token ${apiKey}` } });
    const event = await response.json();
    if (event.status === "SUCCEEDED") return;
    if (event.status === "FAILED") fail(`The service could not process the messages: ${event.error}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  fail(`Nothing came of the messages in 60 s: ${host}/readyz says whether a worker runs.`);
}

// The client writes userId where the protocol has user_id, except inside filters, which it passes on as they are.
const userId = `quickstart-${randomBytes(3).toString("hex")}`;
const filters = { user_id: userId };
const messages = [
  { id: "m1", role: "user", name: "Nora", content: "My brother Emil is vegetarian and lives in Ghent." },
  { id: "m2", role: "assistant", name: "Cook", content: "Noted. Shall I plan a soup for Saturday?" },
  { id: "m3", role: "user", name: "Nora", content: "Yes please, but I can't stand coriander." },
];

const added = await client.add(messages, { userId, timestamp: Math.floor(Date.now() / 1000) });
await wait(added.eventId);

let hits = [];
for (const question of ["Where does Emil live?", "Which herb does Nora dislike?"]) {
  hits = (await client.search(question, { filters, topK: 2 })).results;
  console.log(`\n? ${question}`);
  for (const hit of hits) {
    console.log(`  ${hit.score.toFixed(2)}  ${hit.memory}`);
    console.log(`        from ${(hit.sources ?? []).map((source) => source.messageId).join(", ")}`);
  }
}
if (hits.length === 0) fail("The last search found nothing, so there is no memory to correct.");

await client.update(hits[0].id, { text: "Nora can't stand coriander, but likes parsley." });
console.log("\nHistory of the corrected memory:");
for (const change of await client.history(hits[0].id)) {
  console.log(`  ${change.event}: ${change.oldMemory ?? "(nothing)"} -> ${change.newMemory}`);
}
console.log(`  ${(await client.delete(hits[0].id)).message}`);
