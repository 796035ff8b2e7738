// The endpoint of people who keep their queue in Postgres, with its signature checked on the raw body: a job is stored before
// the answer, and a worker of the same process handles it, with the settings that its documentation names for speed.
const express = require("express");
const crypto = require("crypto");
const { Pool } = require("pg");
const { run } = require("graphile-worker");

const secret = process.env.HEYGEN_WEBHOOK_SECRET;
let handled = 0;

async function main() {
  const pgPool = new Pool({ connectionString: process.env.DATABASE_URL, max: 30 });
  pgPool.on("error", (error) => console.error(error.message));
  const runner = await run({
    pgPool,
    concurrency: 24,
    noHandleSignals: false,
    preset: {
      worker: {
        localQueue: { size: 500, refetchDelay: { durationMs: 10 } },
        completeJobBatchDelay: 0,
        failJobBatchDelay: 0,
      },
    },
    taskList: {
      webhook: async (event) => {
        if (event.event_type === "avatar_video.success") handled += 1;
      },
    },
  });
  const app = express();
  app.get("/handled", (req, res) => res.json({ handled }));
  app.post("/webhook/heygen", express.raw({ type: "application/json" }), async (req, res) => {
    const expected = crypto.createHmac("sha256", secret).update(req.body).digest();
    const given = Buffer.from(req.get("Heygen-Signature") ?? "", "hex");
    if (given.length !== expected.length || !crypto.timingSafeEqual(given, expected)) {
      return res.status(401).send("Invalid signature");
    }
    await runner.addJob("webhook", JSON.parse(req.body));
    res.status(200).json({ status: "received" });
  });
  const server = app.listen(0, "127.0.0.1", () => {
    console.log(`express  http://127.0.0.1:${server.address().port}`);
  });
}

main();
