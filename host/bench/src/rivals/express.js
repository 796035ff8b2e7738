// The endpoint people write today, with its signature checked on the raw body. Nothing is kept; or, if a file is named, an
// insert per request: in WAL mode, and synced as better-sqlite3 does it there, at checkpoints and not at each commit.
const express = require("express");
const crypto = require("crypto");

const secret = process.env.HEYGEN_WEBHOOK_SECRET;
const app = express();
let handled = 0;
let keep = () => {};

if (process.argv[2]) {
  const Database = require("libsql");
  const db = new Database(process.argv[2]);
  db.pragma("journal_mode = WAL");
  db.pragma("synchronous = NORMAL");
  db.exec("CREATE TABLE events (id INTEGER PRIMARY KEY, type TEXT NOT NULL, body TEXT NOT NULL)");
  const insert = db.prepare("INSERT INTO events (type, body) VALUES (?, ?)");
  keep = (type, body) => insert.run(type, body);
}

app.post("/webhook/heygen", express.raw({ type: "application/json" }), (req, res) => {
  const expected = crypto.createHmac("sha256", secret).update(req.body).digest();
  const given = Buffer.from(req.get("Heygen-Signature") ?? "", "hex");
  if (given.length !== expected.length || !crypto.timingSafeEqual(given, expected)) {
    return res.status(401).send("Invalid signature");
  }
  const event = JSON.parse(req.body);
  keep(event.event_type, req.body.toString());
  switch (event.event_type) {
    case "avatar_video.success":
      handled += 1;
      break;
    default:
      console.log(`unknown event type: ${event.event_type}`);
  }
  res.status(200).json({ status: "received" });
});

const server = app.listen(0, "127.0.0.1", () => {
  console.log(`express  http://127.0.0.1:${server.address().port}`);
});
