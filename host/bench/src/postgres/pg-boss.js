// The endpoint of people who keep their queue in Postgres, with its signature checked on the raw body: a job is stored before
// the answer, and a worker of the same process handles it. Jobs are fetched in batches, and completed in batches.
const express = require("express");
const crypto = require("crypto");
const PgBoss = require("pg-boss");

const secret = process.env.HEYGEN_WEBHOOK_SECRET;
const QUEUE = "webhooks";
const WORKERS = 4;
const BATCH = 1000;
let handled = 0;

async function main() {
  const boss = new PgBoss({ connectionString: process.env.DATABASE_URL, max: 20 });
  boss.on("error", (error) => console.error(error.message));
  await boss.start();
  await boss.createQueue(QUEUE);
  for (let worker = 0; worker < WORKERS; worker += 1) {
    // Half a second is the least that it lets a worker wait for more.
    await boss.work(QUEUE, { batchSize: BATCH, pollingIntervalSeconds: 0.5 }, async (jobs) => {
      for (const job of jobs) {
        if (job.data.event_type === "avatar_video.success") handled += 1;
      }
    });
  }
  const app = express();
  app.get("/handled", (req, res) => res.json({ handled }));
  app.post("/webhook/heygen", express.raw({ type: "application/json" }), async (req, res) => {
    const expected = crypto.createHmac("sha256", secret).update(req.body).digest();
    const given = Buffer.from(req.get("Heygen-Signature") ?? "", "hex");
    if (given.length !== expected.length || !crypto.timingSafeEqual(given, expected)) {
      return res.status(401).send("Invalid signature");
    }
    await boss.send(QUEUE, JSON.parse(req.body));
    res.status(200).json({ status: "received" });
  });
  const server = app.listen(0, "127.0.0.1", () => {
    console.log(`express  http://127.0.0.1:${server.address().port}`);
  });
}

main();
