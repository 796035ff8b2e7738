"""What happens when HeyGen has news of a video.

The first part is what you write: it reads like the handlers of a Flask application. The second part, at the end, ties it
to hookbox; it stays as it is. Import at the top of the file: an import in a function finds nothing at run time.
"""

import json

from componentize_py_types import Err
from wit_world import exports
from wit_world.imports import steps
from wit_world.imports.types import Failure_Reject, Failure_Retry, NewEvent, RetryLater


def process_webhook_event(event):
    event_type = event.get("event_type")
    print(f"Received event: {event_type}")

    if not is_heygen_event(event):
        raise Reject("not a HeyGen notification")
    if event["event_data"].get("simulate") == "outage":
        raise Retry("simulated outage")
    if event["event_data"].get("simulate") == "refusal":
        raise Reject("simulated refusal")

    if event_type == "avatar_video.success":
        handle_video_success(event)
    elif event_type == "avatar_video.fail":
        handle_video_failure(event)
    elif event_type == "video_translate.success":
        handle_translation_success(event)
    else:
        print(f"Unknown event type: {event_type}")


# HeyGen has renamed some fields: `video_url` and `url` are the same, and so are `error` and `msg`.


def handle_video_success(event):
    data = event["event_data"]
    url = data.get("video_url") or data.get("url")
    callback_id = data.get("callback_id")

    print(f"Video ready: {url}")
    emit("order.video_ready", callback_id, {"order": callback_id, "url": url})


def handle_video_failure(event):
    data = event["event_data"]
    error = data.get("error") or data.get("msg")
    callback_id = data.get("callback_id")

    print(f"Video failed: {error}")
    emit("order.video_failed", callback_id, {"order": callback_id, "error": error})


def handle_translation_success(event):
    data = event["event_data"]
    url = data.get("video_url") or data.get("url")
    callback_id = data.get("callback_id")

    print(f"Translation ready: {url}")
    emit("order.translation_ready", callback_id, {"order": callback_id, "url": url})


def is_heygen_event(event):
    return isinstance(event.get("event_data"), dict)


# ---------------------------------------------------------------------------------------------------------------------
# The glue: bytes in, events out. `raise Retry(…)` asks for another attempt, `raise Reject(…)` for none; any other
# exception counts as a crash, which is tried again as well.


class Retry(Exception):
    def __init__(self, reason, after_ms=None):
        self.failure = Failure_Retry(RetryLater(reason, after_ms))


class Reject(Exception):
    def __init__(self, reason):
        self.failure = Failure_Reject(reason)


def step(name, run):
    """Does something once: if an attempt fails after it, or asks to be called again by `steps.again(30_000)`, the next
    one gets the same bytes. `kv` keeps values from event to event, and `config` reads settings."""
    result = steps.recall(name)
    if result is None:
        result = run()
        steps.record(name, result)
    return result


emitted = []


def emit(event_type, subject, data):
    """An event that follows from this one; without a subject it has that of this one."""
    emitted.append(NewEvent(event_type, subject, "application/json", json.dumps(data).encode(), None))


def parse(data):
    try:
        body = json.loads(data)
    except ValueError:
        return {}  # Not JSON: an event without data.
    return body if isinstance(body, dict) else {}


class Handler(exports.Handler):
    def handle(self, event, context):
        emitted.clear()
        try:
            process_webhook_event({**parse(event.data), "event_type": event.type})
        except (Retry, Reject) as error:
            raise Err(error.failure)
        return emitted
