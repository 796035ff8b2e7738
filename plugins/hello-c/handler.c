// What happens when HeyGen has news of a video.
//
// The first part is what you write: a function for each type of event. The second part, at the end, ties it to hookbox;
// it stays as it is.

#include <stdlib.h>
#include <string.h>

#include "gen/plugin.h"
#include "json.h"

// How handling an event ends: well, with the wish for another attempt, or for good.
typedef struct {
  enum { DONE, RETRY, REJECT } kind;
  const char *reason;
} outcome_t;

static void log_info(const char *text, plugin_string_t more);
static void emit(const char *type, plugin_string_t order, const char *name, plugin_string_t value);
static bool is(plugin_string_t text, const char *expected);
static plugin_string_t text_of(json_t object, const char *name, const char *other_name);

static void handle_video_success(json_t data);
static void handle_video_failure(json_t data);
static void handle_translation_success(json_t data);

static outcome_t process_webhook_event(plugin_string_t event_type, json_t body) {
  log_info("Received event: ", event_type);

  json_t data = json_member(body, "event_data");
  if (!json_is_object(data)) return (outcome_t){REJECT, "not a HeyGen notification"};
  plugin_string_t simulate = text_of(data, "simulate", NULL);
  bool outage = is(simulate, "outage"), refusal = is(simulate, "refusal");
  plugin_string_free(&simulate);
  if (outage) return (outcome_t){RETRY, "simulated outage"};
  if (refusal) return (outcome_t){REJECT, "simulated refusal"};

  if (is(event_type, "avatar_video.success")) {
    handle_video_success(data);
  } else if (is(event_type, "avatar_video.fail")) {
    handle_video_failure(data);
  } else if (is(event_type, "video_translate.success")) {
    handle_translation_success(data);
  } else {
    log_info("Unknown event type: ", event_type);
  }
  return (outcome_t){DONE, NULL};
}

// HeyGen has renamed some fields: `video_url` and `url` are the same, and so are `error` and `msg`.

static void handle_video_success(json_t data) {
  plugin_string_t url = text_of(data, "video_url", "url");
  plugin_string_t callback_id = text_of(data, "callback_id", NULL);

  log_info("Video ready: ", url);
  emit("order.video_ready", callback_id, "url", url);
}

static void handle_video_failure(json_t data) {
  plugin_string_t error = text_of(data, "error", "msg");
  plugin_string_t callback_id = text_of(data, "callback_id", NULL);

  log_info("Video failed: ", error);
  emit("order.video_failed", callback_id, "error", error);
}

static void handle_translation_success(json_t data) {
  plugin_string_t url = text_of(data, "video_url", "url");
  plugin_string_t callback_id = text_of(data, "callback_id", NULL);

  log_info("Translation ready: ", url);
  emit("order.translation_ready", callback_id, "url", url);
}

static bool is(plugin_string_t text, const char *expected) {
  return text.ptr != NULL && text.len == strlen(expected) && memcmp(text.ptr, expected, text.len) == 0;
}

// ---------------------------------------------------------------------------------------------------------------------
// The glue: bytes in, events out. What is returned is freed by the bindings.

static exports_hookbox_plugin_handler_list_new_event_t emitted;

// A text member by either of its names; none if it is neither there nor a text, or if it is empty.
static plugin_string_t text_of(json_t object, const char *name, const char *other_name) {
  plugin_string_t text = json_text(json_member(object, name));
  if (text.len > 0) return text;
  plugin_string_free(&text);
  return other_name != NULL ? text_of(object, other_name, NULL) : (plugin_string_t){0};
}

static void log_info(const char *text, plugin_string_t more) {
  buffer_t line = {0};
  buffer_puts(&line, text);
  if (more.ptr != NULL) {
    buffer_put(&line, more.ptr, more.len);
  } else {
    buffer_puts(&line, "null");
  }
  hookbox_plugin_log_log(HOOKBOX_PLUGIN_LOG_LEVEL_INFO, &(plugin_string_t){line.ptr, line.len});
  free(line.ptr);
}

// Does something once: if an attempt fails after it, or asks to be called again by `hookbox_plugin_steps_again`, the next
// one gets the same result. False if the store did not answer. `hookbox_plugin_kv_…` keeps values from event to event,
// and `hookbox_plugin_config_get` reads settings.
bool step(plugin_string_t *name, bool (*run)(plugin_list_u8_t *result), plugin_list_u8_t *result) {
  hookbox_plugin_steps_error_t error;
  plugin_option_list_u8_t done;
  if (!hookbox_plugin_steps_recall(name, &done, &error)) return false;
  if (done.is_some) return *result = done.val, true;
  return run(result) && hookbox_plugin_steps_record(name, result, &error);
}

// An event about an order that follows from this one: {"order": …, NAME: …}. Without an order it has the subject of
// this one. Takes both texts.
static void emit(const char *type, plugin_string_t order, const char *name, plugin_string_t value) {
  buffer_t data = {0};
  buffer_puts(&data, "{\"order\":");
  buffer_put_json(&data, order);
  buffer_puts(&data, ",\"");
  buffer_puts(&data, name);
  buffer_puts(&data, "\":");
  buffer_put_json(&data, value);
  buffer_puts(&data, "}");
  plugin_string_free(&value);

  emitted.ptr = realloc(emitted.ptr, (emitted.len + 1) * sizeof *emitted.ptr);
  if (emitted.ptr == NULL) abort();
  exports_hookbox_plugin_handler_new_event_t *event = &emitted.ptr[emitted.len++];
  *event = (exports_hookbox_plugin_handler_new_event_t){
      .subject = {.is_some = order.ptr != NULL, .val = order},
      .data_content_type.is_some = true,
      .data = {data.ptr, data.len},
  };
  plugin_string_dup(&event->type, type);
  plugin_string_dup(&event->data_content_type.val, "application/json");
}

bool exports_hookbox_plugin_handler_handle(exports_hookbox_plugin_handler_event_t *event,
                                           exports_hookbox_plugin_handler_context_t *context,
                                           exports_hookbox_plugin_handler_list_new_event_t *ret,
                                           exports_hookbox_plugin_handler_failure_t *err) {
  emitted = (exports_hookbox_plugin_handler_list_new_event_t){0};
  outcome_t outcome = process_webhook_event(event->type, json_parse(event->data.ptr, event->data.len));
  exports_hookbox_plugin_handler_event_free(event);
  exports_hookbox_plugin_handler_context_free(context);
  switch (outcome.kind) {
    case DONE:
      *ret = emitted;
      return true;
    case RETRY:
      err->tag = HOOKBOX_PLUGIN_TYPES_FAILURE_RETRY;
      err->val.retry.after_ms.is_some = false;
      plugin_string_dup(&err->val.retry.reason, outcome.reason);
      return false;
    case REJECT:
      err->tag = HOOKBOX_PLUGIN_TYPES_FAILURE_REJECT;
      plugin_string_dup(&err->val.reject, outcome.reason);
      return false;
  }
}
