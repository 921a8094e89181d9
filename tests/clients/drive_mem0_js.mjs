// Drives the unmodified npm mem0ai (js/package-lock.json) and prints a JSON report; exits 0 only if every step worked.
// node drive_mem0_js.mjs --api-key KEY --user NAME [--host http://127.0.0.1:8000]
import { createRequire } from "node:module";
import { parseArgs } from "node:util";

process.env.MEM0_TELEMETRY = "false"; // read on import, and only in lower case

const { MemoryClient } = createRequire(new URL("js/", import.meta.url))("mem0ai");

const EVENT_TIMEOUT_MS = 60_000;
const MISSING = "00000000-0000-4000-8000-000000000000";
const MESSAGES = [
  { role: "user", content: "I moved to Porto in March and I work as a baker there." },
  { role: "assistant", content: "Congratulations! How do you like Porto so far?" },
  { role: "user", content: "I love it. My sister Clara visited me last weekend and we took the boat to Pinhão." },
  { role: "user", content: "By the way, I am allergic to walnuts, so no walnut bread for me." },
  { role: "user", content: "My bicycle is a green Falcon, and I ride it to the bakery every morning." },
];

const { values: args } = parseArgs({
  options: {
    host: { type: "string", default: "http://127.0.0.1:8000" },
    "api-key": { type: "string" },
    user: { type: "string" },
  },
});
if (!args["api-key"] || !args.user) {
  console.error("--api-key and --user are required");
  process.exit(2);
}
const host = args.host.replace(/\/+$/, "");
const report = {};

function* eventIds(answer) {
  if (answer === null || typeof answer !== "object") return;
  if (answer.eventId) yield answer.eventId;
  for (const part of Object.values(answer)) yield* eventIds(part);
}

async function waitForEvents(answer) {
  for (const id of eventIds(answer)) {
    const end = Date.now() + EVENT_TIMEOUT_MS;
    for (;;) {
      const response = await fetch(`${host}/v1/event/${id}/`, {
        headers: { Authorization: `Token ${args["api-key"]}` },
      });
      if (!response.ok) throw new Error(`event ${id}: HTTP ${response.status} ${await response.text()}`);
      const event = await response.json();
      if (event.status === "SUCCEEDED") break;
      if (event.status === "FAILED") throw new Error(`event ${id} failed: ${event.error}`);
      if (Date.now() > end) throw new Error(`event ${id} is ${event.status} after ${EVENT_TIMEOUT_MS} ms`);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}

async function step(name, call, check = Boolean) {
  let error;
  try {
    const answer = await call();
    await waitForEvents(answer);
    if (check(answer)) {
      report[name] = { ok: true, answer };
      return answer;
    }
    error = `unexpected answer: ${JSON.stringify(answer)?.slice(0, 600)}`;
  } catch (exc) {
    error = `${exc.name}: ${exc.message}${exc.cause ? ` (${exc.cause.message ?? exc.cause.code})` : ""}`;
  }
  report[name] = { ok: false, error };
  return null;
}

const texts = (answer) => answer.results.map((memory) => memory.memory).join("\n");

async function isGone(client, id) {
  try {
    await client.get(id);
  } catch (exc) {
    if (exc.name === "MemoryNotFoundError") return true;
    throw exc;
  }
  return false;
}

async function drive(client) {
  const user = args.user;
  const filters = { AND: [{ user_id: user }] };
  const listed = () => client.getAll({ filters });
  await step("add", () =>
    client.add(MESSAGES, { userId: user, metadata: { source: "driver" }, timestamp: 1741003200 }),
  );
  await step("addInferFalse", () =>
    client.add([{ role: "user", content: "Verbatim: the oven is at 230 degrees." }], { userId: user, infer: false }),
  );
  const found = await step("getAll", listed, (a) =>
    ["Porto", "walnut", "Falcon", "Verbatim: the oven is at 230 degrees."].every((w) => texts(a).includes(w)),
  );
  await step(
    "getAllPage",
    () => client.getAll({ filters, page: 1, pageSize: 1 }),
    (a) => a.results.length === 1 && a.count > 1 && a.next && a.previous === null,
  );
  await step(
    "search",
    () => client.search("What is the user allergic to?", { filters, topK: 3 }),
    (a) => texts(a).includes("walnut") && a.results.every((m) => m.score > 0 && m.createdAt && m.sources.length > 0),
  );
  const ids = found?.results.map((memory) => memory.id) ?? [];
  if (ids.length < 4) {
    report.remaining = { ok: false, error: `4 memories are needed, getAll gave ${ids.length}` };
    return;
  }
  const [first, second, third, fourth] = ids;
  const text = "The user moved to Braga in June.";
  await step("get", () => client.get(first), (a) => a.id === first && a.userId === user);
  await step("getUnknown", () => isGone(client, MISSING));
  await step("update", () => client.update(first, { text, metadata: { checked: true } }));
  await step("getUpdated", () => client.get(first), (a) => a.memory === text && a.metadata.checked === true);
  await step("clearExpiration", () => client.update(first, { expirationDate: null }));
  await step(
    "history",
    () => client.history(first),
    (a) => a.some((h) => h.event === "UPDATE" && h.newMemory === text),
  );
  await step("feedback", () =>
    client.feedback({ memoryId: first, feedback: "POSITIVE", feedbackReason: "it is true" }),
  );
  await step(
    "users",
    () => client.users(),
    (a) => a.next || a.results.some((e) => e.name === user && e.type === "user"),
  );
  await step("delete", () => client.delete(first));
  await step("getDeleted", () => isGone(client, first));
  await step("batchUpdate", () =>
    client.batchUpdate([
      { memoryId: second, text: "Batch text one." },
      { memoryId: third, text: "Batch text two." },
    ]),
  );
  await step("getBatchUpdated", listed, (a) =>
    ["Batch text one.", "Batch text two."].every((w) => texts(a).includes(w)),
  );
  await step("batchDelete", () => client.batchDelete([second, third]));
  await step("getAllAfterBatchDelete", listed, (a) => {
    const left = a.results.map((memory) => memory.id);
    return !left.includes(second) && !left.includes(third) && left.includes(fourth);
  });
  await step("deleteAll", () => client.deleteAll({ userId: user }));
  await step("getAllAfterDeleteAll", listed, (a) => a.results.length === 0);
  await step("addToDeleteUser", () => client.add([{ role: "user", content: "I have a parrot." }], { userId: user }));
  await step("deleteUsers", () => client.deleteUsers({ userId: user }));
}

// The constructor pings in the background and only logs what went wrong, so ping again and see.
let client;
const isReady = await step("construct", async () => {
  client = new MemoryClient({ apiKey: args["api-key"], host });
  await client.ping();
  return "ok";
});
if (isReady) await drive(client);

console.log(JSON.stringify(report, null, 1));
const failed = Object.entries(report).filter(([, result]) => !result.ok);
for (const [name, result] of failed) console.error(`failed step ${name}: ${result.error}`);
process.exit(failed.length ? 1 : 0);
