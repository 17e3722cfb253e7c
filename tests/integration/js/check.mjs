// Asks the official client of the NATS service protocol (ADR-32) what it sees of our services.
// usage: node check.mjs URLS: two instances of "echo" must be there, e1 and e2. Prints one line of
// JSON per claim that holds and ends with 0 only when all do.
import assert from "node:assert/strict";
import { createRequire } from "node:module";

const require = createRequire(import.meta.url);
const { connect } = require("@nats-io/transport-node");
const { ServiceError, Svcm } = require("@nats-io/services");

const nc = await connect({ servers: process.argv[2].split(","), timeout: 5000 });
const client = new Svcm(nc).client({ strategy: "stall", maxWait: 2000 });

async function all(promise) {
  const found = [];
  for await (const one of await promise) {
    found.push(one);
  }
  return found.sort((a, b) => (a.id < b.id ? -1 : 1));
}

function held(claim) {
  console.log(JSON.stringify({ held: claim }));
}

const ids = (found) => found.map((one) => one.id);

const everybody = await all(client.ping());
assert.ok(everybody.some((one) => one.name !== "echo")); // the test program is a member, too
for (const pings of [everybody.filter((one) => one.name === "echo"), await all(client.ping("echo"))]) {
  assert.deepEqual(ids(pings), ["e1", "e2"]);
  for (const one of pings) {
    assert.equal(one.type, "io.nats.micro.v1.ping_response");
    assert.equal(one.name, "echo");
    assert.match(one.version, /^\d+\.\d+\.\d+$/);
    assert.deepEqual(one.metadata, {});
  }
}
assert.deepEqual(ids(await all(client.ping("echo", "e2"))), ["e2"]);
held("ping lists both, by name and by id");

const infos = await all(client.info("echo"));
assert.deepEqual(ids(infos), ["e1", "e2"]);
assert.equal(infos[0].type, "io.nats.micro.v1.info_response");
assert.equal(infos[0].description, "answers with what it was asked");
const echo = infos[0].endpoints.find((one) => one.name === "echo");
assert.deepEqual(echo, {
  name: "echo",
  subject: "faas.echo.echo",
  queue_group: "q",
  metadata: {},
});
held("info describes the endpoints");

const asked = 20;
for (let i = 0; i < asked; i++) {
  const reply = await nc.request("faas.echo.echo", JSON.stringify({ i }), { timeout: 2000 });
  assert.deepEqual(reply.json(), { i });
}
const refusal = await nc.request("faas.echo.refuse", "{}", { timeout: 2000 });
assert.ok(ServiceError.isServiceError(refusal));
assert.equal(ServiceError.toServiceError(refusal).code, 409);
assert.equal(ServiceError.toServiceError(refusal).message, "refused on request");
held("a refusal reads as a service error");

const stats = await all(client.stats("echo"));
assert.deepEqual(ids(stats), ["e1", "e2"]);
const sum = (name, field) =>
  stats
    .map((one) => one.endpoints.find((endpoint) => endpoint.name === name)[field])
    .reduce((a, b) => a + b, 0);
assert.equal(stats[0].type, "io.nats.micro.v1.stats_response");
assert.ok(!Number.isNaN(Date.parse(stats[0].started)));
assert.equal(sum("echo", "num_requests"), asked);
assert.equal(sum("echo", "num_errors"), 0);
assert.ok(sum("echo", "processing_time") > 0);
assert.equal(sum("refuse", "num_errors"), 1);
const errors = stats.map((one) => one.endpoints.find((e) => e.name === "refuse").last_error);
assert.deepEqual(errors.sort(), ["", "409:refused on request"]);
held("stats count requests and errors");

await nc.close();
