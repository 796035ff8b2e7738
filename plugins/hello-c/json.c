// See json.h. Every reader here stands on a cursor: it moves past what it knows, or says that something else is there.

#include "json.h"

#include <stdlib.h>
#include <string.h>

#define MAX_DEPTH 128

// What is left to be read.
typedef struct {
  const uint8_t *at, *end;
} cursor_t;

static bool skip_value(cursor_t *c, int depth);

static void skip_space(cursor_t *c) {
  while (c->at < c->end && (*c->at == ' ' || *c->at == '\t' || *c->at == '\n' || *c->at == '\r')) c->at++;
}

static bool skip_byte(cursor_t *c, uint8_t byte) {
  if (c->at == c->end || *c->at != byte) return false;
  c->at++;
  return true;
}

static bool skip_word(cursor_t *c, const char *word) {
  size_t len = strlen(word);
  if ((size_t)(c->end - c->at) < len || memcmp(c->at, word, len) != 0) return false;
  c->at += len;
  return true;
}

static int hex_digit(uint8_t byte) {
  if (byte >= '0' && byte <= '9') return byte - '0';
  if (byte >= 'a' && byte <= 'f') return byte - 'a' + 10;
  if (byte >= 'A' && byte <= 'F') return byte - 'A' + 10;
  return -1;
}

// What follows `\u`: four digits; -1 if they are not there.
static int32_t hex4(const uint8_t *at, const uint8_t *end) {
  if (end - at < 4) return -1;
  int32_t code = 0;
  for (int i = 0; i < 4; i++) {
    int digit = hex_digit(at[i]);
    if (digit < 0) return -1;
    code = code * 16 + digit;
  }
  return code;
}

// One character of UTF-8; no overlong forms, no surrogates, nothing beyond U+10FFFF.
static bool skip_character(cursor_t *c) {
  uint8_t first = *c->at++;
  if (first < 0x80) return true;
  int more = first >= 0xf0 ? 3 : first >= 0xe0 ? 2 : 1;
  if (first < 0xc2 || first > 0xf4 || c->end - c->at < more) return false;
  uint8_t second = *c->at;
  if ((first == 0xe0 && second < 0xa0) || (first == 0xed && second > 0x9f)) return false;
  if ((first == 0xf0 && second < 0x90) || (first == 0xf4 && second > 0x8f)) return false;
  for (; more > 0; more--, c->at++) {
    if ((*c->at & 0xc0) != 0x80) return false;
  }
  return true;
}

static bool skip_string(cursor_t *c) {
  if (!skip_byte(c, '"')) return false;
  while (c->at < c->end) {
    if (skip_byte(c, '"')) return true;
    if (*c->at < 0x20) return false;
    if (*c->at != '\\') {
      if (!skip_character(c)) return false;
      continue;
    }
    c->at++;
    if (c->at == c->end || *c->at == 0 || strchr("\"\\/bfnrtu", *c->at) == NULL) return false;
    if (*c->at++ == 'u') {
      if (hex4(c->at, c->end) < 0) return false;
      c->at += 4;
    }
  }
  return false;
}

static bool skip_digits(cursor_t *c) {
  const uint8_t *begin = c->at;
  while (c->at < c->end && *c->at >= '0' && *c->at <= '9') c->at++;
  return c->at > begin;
}

static bool skip_number(cursor_t *c) {
  skip_byte(c, '-');
  if (!skip_byte(c, '0') && !skip_digits(c)) return false;
  if (skip_byte(c, '.') && !skip_digits(c)) return false;
  if (skip_byte(c, 'e') || skip_byte(c, 'E')) {
    if (!skip_byte(c, '+')) skip_byte(c, '-');
    return skip_digits(c);
  }
  return true;
}

// The name of a member, its colon, and the white space around them.
static bool skip_name(cursor_t *c, json_t *name) {
  skip_space(c);
  const uint8_t *begin = c->at;
  if (!skip_string(c)) return false;
  *name = (json_t){begin, c->at - begin};
  skip_space(c);
  if (!skip_byte(c, ':')) return false;
  skip_space(c);
  return true;
}

// An object or a list, after its first bracket.
static bool skip_items(cursor_t *c, int depth, bool named, uint8_t closing) {
  skip_space(c);
  if (skip_byte(c, closing)) return true;
  do {
    json_t name;
    if (named && !skip_name(c, &name)) return false;
    if (!skip_value(c, depth + 1)) return false;
  } while (skip_byte(c, ','));
  return skip_byte(c, closing);
}

// A value and the white space around it.
static bool skip_value(cursor_t *c, int depth) {
  skip_space(c);
  if (c->at == c->end || depth > MAX_DEPTH) return false;
  bool ok;
  switch (*c->at) {
    case '{': c->at++; ok = skip_items(c, depth, true, '}'); break;
    case '[': c->at++; ok = skip_items(c, depth, false, ']'); break;
    case '"': ok = skip_string(c); break;
    case 't': ok = skip_word(c, "true"); break;
    case 'f': ok = skip_word(c, "false"); break;
    case 'n': ok = skip_word(c, "null"); break;
    default: ok = skip_number(c);
  }
  skip_space(c);
  return ok;
}

json_t json_parse(const uint8_t *text, size_t len) {
  cursor_t c = {text, text + len};
  skip_space(&c);
  const uint8_t *begin = c.at;
  if (!skip_value(&c, 0) || c.at != c.end) return (json_t){0};
  return (json_t){begin, c.at - begin};
}

bool json_is_object(json_t value) { return value.ptr != NULL && value.len > 0 && *value.ptr == '{'; }

static bool is_text(json_t value, const char *expected) {
  plugin_string_t text = json_text(value);
  bool same = text.ptr != NULL && text.len == strlen(expected) && memcmp(text.ptr, expected, text.len) == 0;
  plugin_string_free(&text);
  return same;
}

json_t json_member(json_t object, const char *name) {
  json_t found = {0};
  if (!json_is_object(object)) return found;
  cursor_t c = {object.ptr + 1, object.ptr + object.len};
  do {
    json_t key;
    if (!skip_name(&c, &key)) break;  // the object is empty
    const uint8_t *begin = c.at;
    if (!skip_value(&c, 0)) break;
    if (is_text(key, name)) found = (json_t){begin, c.at - begin};
  } while (skip_byte(&c, ','));
  return found;
}

static size_t put_utf8(uint8_t *to, uint32_t code) {
  if (code < 0x80) {
    to[0] = code;
    return 1;
  }
  if (code < 0x800) {
    to[0] = 0xc0 | code >> 6, to[1] = 0x80 | (code & 0x3f);
    return 2;
  }
  if (code < 0x10000) {
    to[0] = 0xe0 | code >> 12, to[1] = 0x80 | (code >> 6 & 0x3f), to[2] = 0x80 | (code & 0x3f);
    return 3;
  }
  to[0] = 0xf0 | code >> 18, to[1] = 0x80 | (code >> 12 & 0x3f);
  to[2] = 0x80 | (code >> 6 & 0x3f), to[3] = 0x80 | (code & 0x3f);
  return 4;
}

// The character after `\u`; two escapes make one beyond U+FFFF, and half of such a pair is U+FFFD.
static uint32_t escaped_code(cursor_t *c) {
  uint32_t code = hex4(c->at, c->end);
  c->at += 4;
  if (code < 0xd800 || code > 0xdfff) return code;
  if (code < 0xdc00 && c->end - c->at >= 6 && c->at[0] == '\\' && c->at[1] == 'u') {
    int32_t low = hex4(c->at + 2, c->end);
    if (low >= 0xdc00 && low <= 0xdfff) {
      c->at += 6;
      return 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    }
  }
  return 0xfffd;
}

plugin_string_t json_text(json_t value) {
  plugin_string_t text = {0};
  if (value.ptr == NULL || *value.ptr != '"') return text;
  // No escape is shorter than what it stands for; the extra byte keeps an empty string from being none.
  text.ptr = malloc(value.len + 1);
  if (text.ptr == NULL) abort();
  cursor_t c = {value.ptr + 1, value.ptr + value.len};
  while (c.at < c.end && *c.at != '"') {
    if (*c.at != '\\') {
      text.ptr[text.len++] = *c.at++;
      continue;
    }
    uint8_t sign = c.at[1];
    c.at += 2;
    switch (sign) {
      case 'b': text.ptr[text.len++] = '\b'; break;
      case 'f': text.ptr[text.len++] = '\f'; break;
      case 'n': text.ptr[text.len++] = '\n'; break;
      case 'r': text.ptr[text.len++] = '\r'; break;
      case 't': text.ptr[text.len++] = '\t'; break;
      case 'u': text.len += put_utf8(text.ptr + text.len, escaped_code(&c)); break;
      default: text.ptr[text.len++] = sign;
    }
  }
  return text;
}

void buffer_put(buffer_t *buffer, const void *bytes, size_t len) {
  if (buffer->len + len > buffer->room) {
    buffer->room = (buffer->len + len) * 2;
    buffer->ptr = realloc(buffer->ptr, buffer->room);
    if (buffer->ptr == NULL) abort();
  }
  memcpy(buffer->ptr + buffer->len, bytes, len);
  buffer->len += len;
}

void buffer_puts(buffer_t *buffer, const char *text) { buffer_put(buffer, text, strlen(text)); }

void buffer_put_json(buffer_t *buffer, plugin_string_t text) {
  if (text.ptr == NULL) {
    buffer_puts(buffer, "null");
    return;
  }
  buffer_puts(buffer, "\"");
  for (size_t i = 0; i < text.len; i++) {
    uint8_t byte = text.ptr[i];
    if (byte == '"' || byte == '\\') {
      buffer_put(buffer, (uint8_t[]){'\\', byte}, 2);
    } else if (byte < 0x20) {
      const char *digits = "0123456789abcdef";
      buffer_put(buffer, (uint8_t[]){'\\', 'u', '0', '0', digits[byte >> 4], digits[byte & 15]}, 6);
    } else {
      buffer_put(buffer, &byte, 1);
    }
  }
  buffer_puts(buffer, "\"");
}
