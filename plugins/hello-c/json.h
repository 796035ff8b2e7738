// A small reader and writer of JSON (RFC 8259): just enough for a handler to look into an event and to answer.
//
// A value is a piece of the text it stands in; nothing is built. Strings are those of the bindings: UTF-8 with a length,
// not ended by a zero; `ptr` is NULL if there is none.

#ifndef JSON_H
#define JSON_H

#include "gen/plugin.h"

// A value as it stands in its text; `ptr` is NULL if there is none.
typedef struct {
  const uint8_t *ptr;
  size_t len;
} json_t;

// The whole text as a value; none if it is not JSON, or nested deeper than some 128 levels.
json_t json_parse(const uint8_t *text, size_t len);

bool json_is_object(json_t value);

// A member of an object: the last one of that name; none if there is no such member, or if it is not an object.
json_t json_member(json_t object, const char *name);

// A string without its quotes and escapes, to be freed with `plugin_string_free`; none if the value is not a string.
plugin_string_t json_text(json_t value);

// Text that grows.
typedef struct {
  uint8_t *ptr;
  size_t len, room;
} buffer_t;

void buffer_put(buffer_t *buffer, const void *bytes, size_t len);
void buffer_puts(buffer_t *buffer, const char *text);

// A JSON string; `null` if there is none.
void buffer_put_json(buffer_t *buffer, plugin_string_t text);

#endif
