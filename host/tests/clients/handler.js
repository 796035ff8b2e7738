// A handler that sends a request with `fetch`, as any program in JavaScript would.

import { get } from "hookbox:plugin/config@0.1.1";
import { log } from "hookbox:plugin/log@0.1.1";

export const handler = {
  async handle(event) {
    const response = await fetch(get("url"), {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ subject: event.subject }),
    });
    log("info", `${response.status} ${await response.text()}`);
    return [];
  },
};
