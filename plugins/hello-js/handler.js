// What happens when HeyGen has news of a video.
//
// The first part is what you write: it reads like the handlers of an Express application. The second part, at the end,
// ties it to hookbox; it stays as it is.

import * as steps from "hookbox:plugin/steps@0.1.1";

async function processWebhookEvent(event) {
  console.log(`Received event: ${event.event_type}`);

  if (!isHeygenEvent(event)) throw new Reject("not a HeyGen notification");
  if (event.event_data.simulate === "outage") throw new Retry("simulated outage");
  if (event.event_data.simulate === "refusal") throw new Reject("simulated refusal");

  switch (event.event_type) {
    case "avatar_video.success":
      await handleVideoSuccess(event);
      break;
    case "avatar_video.fail":
      await handleVideoFailure(event);
      break;
    case "video_translate.success":
      await handleTranslationSuccess(event);
      break;
    default:
      console.log(`Unknown event type: ${event.event_type}`);
  }
}

// HeyGen has renamed some fields: `video_url` and `url` are the same, and so are `error` and `msg`.

async function handleVideoSuccess(event) {
  const { video_url, url = null, callback_id = null } = event.event_data;

  console.log(`Video ready: ${video_url || url}`);
  emit("order.video_ready", callback_id, { order: callback_id, url: video_url || url });
}

async function handleVideoFailure(event) {
  const { error, msg = null, callback_id = null } = event.event_data;

  console.log(`Video failed: ${error || msg}`);
  emit("order.video_failed", callback_id, { order: callback_id, error: error || msg });
}

async function handleTranslationSuccess(event) {
  const { video_url, url = null, callback_id = null } = event.event_data;

  console.log(`Translation ready: ${video_url || url}`);
  emit("order.translation_ready", callback_id, { order: callback_id, url: video_url || url });
}

function isHeygenEvent(event) {
  const data = event.event_data;
  return typeof data === "object" && data !== null && !Array.isArray(data);
}

// ---------------------------------------------------------------------------------------------------------------------
// The glue: bytes in, events out. `throw new Retry(…)` asks for another attempt, `throw new Reject(…)` for none; any
// other exception counts as a crash, which is tried again as well.

class Retry extends Error {
  constructor(reason, afterMs) {
    super(reason);
    this.payload = { tag: "retry", val: { reason, afterMs: afterMs === undefined ? undefined : BigInt(afterMs) } };
  }
}

class Reject extends Error {
  constructor(reason) {
    super(reason);
    this.payload = { tag: "reject", val: reason };
  }
}

// Does something once: if an attempt fails after it, or asks to be called again by `steps.again(30_000n)`, the next one
// gets the same result, a text. `hookbox:plugin/kv` keeps values from event to event, `hookbox:plugin/config` has settings.
export async function step(name, run) {
  const done = steps.recall(name);
  if (done !== undefined) return new TextDecoder().decode(done);
  const result = await run();
  steps.record(name, new TextEncoder().encode(result));
  return result;
}

let emitted = [];

// An event that follows from this one; without a subject it has that of this one.
function emit(type, subject, data) {
  const bytes = new TextEncoder().encode(JSON.stringify(data));
  emitted.push({ type, subject: subject ?? undefined, dataContentType: "application/json", data: bytes });
}

function parse(bytes) {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    return {}; // Not JSON: an event without data.
  }
}

export const handler = {
  async handle(event, context) {
    emitted = [];
    await processWebhookEvent({ ...parse(event.data), event_type: event.type });
    return emitted;
  },
};
