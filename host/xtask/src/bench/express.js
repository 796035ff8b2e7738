// The endpoint people write today, with its signature checked on the raw body: nothing is kept.
const express = require("express");
const crypto = require("crypto");

const secret = process.env.HEYGEN_WEBHOOK_SECRET;
const app = express();
let handled = 0;

app.post("/webhook/heygen", express.raw({ type: "application/json" }), (req, res) => {
  const expected = crypto.createHmac("sha256", secret).update(req.body).digest();
  const given = Buffer.from(req.get("Heygen-Signature") ?? "", "hex");
  if (given.length !== expected.length || !crypto.timingSafeEqual(given, expected)) {
    return res.status(401).send("Invalid signature");
  }
  const event = JSON.parse(req.body);
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
