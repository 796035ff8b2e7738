"""The endpoint people write today, with its signature checked on the raw body: nothing is kept."""

import hashlib
import hmac
import json
import os

from flask import Flask, jsonify, request

app = Flask(__name__)
secret = os.environ["HEYGEN_WEBHOOK_SECRET"].encode()
handled = 0


@app.post("/webhook/heygen")
def heygen():
    global handled
    body = request.get_data()
    expected = hmac.new(secret, body, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(request.headers.get("Heygen-Signature", ""), expected):
        return "Invalid signature", 401
    event = json.loads(body)
    if event["event_type"] == "avatar_video.success":
        handled += 1
    else:
        print("unknown event type:", event["event_type"])
    return jsonify(status="received")
