// SPDX-License-Identifier: GPL-2.0
#include "text.h"

#include <stdbool.h>
#include <wchar.h>

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))

/* Bytes of the sequence that @lead begins; 0: none can begin so. */
static size_t sequence_len(uint8_t lead)
{
	if (lead < 0x80)
		return 1;
	if (lead >= 0xc2 && lead <= 0xdf)
		return 2;
	if (lead >= 0xe0 && lead <= 0xef)
		return 3;
	if (lead >= 0xf0 && lead <= 0xf4)
		return 4;
	return 0;
}

/* Not longer than need be, no surrogate, nothing beyond U+10FFFF. */
static bool sequence_valid(uint32_t code, size_t len)
{
	if (len == 3)
		return code >= 0x800 && (code < 0xd800 || code > 0xdfff);
	if (len == 4)
		return code >= 0x10000 && code <= 0x10ffff;
	return true;
}

/* Returns the bytes of the character that @text begins with; 0: no UTF-8. */
static size_t decode(const uint8_t *text, size_t len, uint32_t *code)
{
	size_t need = sequence_len(text[0]);
	size_t i;

	if (!need || need > len)
		return 0;
	*code = need == 1 ? text[0] : text[0] & (0x7f >> need);
	for (i = 1; i < need; i++) {
		if ((text[i] & 0xc0) != 0x80)
			return 0;
		*code = *code << 6 | (text[i] & 0x3f);
	}
	return sequence_valid(*code, need) ? need : 0;
}

/*
 * Characters that are not seen but change how others are: they join or reorder
 * what is around them, so that a table would not show what there is.
 */
static bool formats(uint32_t code)
{
	static const struct {
		uint32_t first;
		uint32_t last;
	} ranges[] = {
		{ 0xad, 0xad },
		{ 0x61c, 0x61c },
		{ 0x180e, 0x180e },
		{ 0x200b, 0x200f },
		{ 0x2028, 0x202e },
		{ 0x2060, 0x206f },
		{ 0xfeff, 0xfeff },
		{ 0xfff9, 0xfffb },
		{ 0xe0000, 0xe0fff },
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(ranges); i++)
		if (code >= ranges[i].first && code <= ranges[i].last)
			return true;
	return false;
}

static bool controls(uint32_t code)
{
	return code < 0x20 || (code >= 0x7f && code < 0xa0) || formats(code);
}

/* Characters that the C library does not know are taken for unprintable. */
static bool printable(uint32_t code)
{
	if (code < 0x80)
		return !controls(code);
	return !controls(code) && wcwidth((wchar_t)code) >= 0;
}

size_t text_width(const char *text, size_t len)
{
	const uint8_t *at = (const uint8_t *)text;
	size_t width = 0;
	uint32_t code;
	size_t bytes;
	int columns;

	for (; len; at += bytes, len -= bytes) {
		bytes = decode(at, len, &code);
		columns = bytes > 1 ? wcwidth((wchar_t)code) : 1;
		if (!bytes)
			bytes = 1;
		if (columns > 0)
			width += (size_t)columns;
	}
	return width;
}

static void quote_char(FILE *out, const uint8_t *text, size_t bytes,
		       uint32_t code)
{
	size_t i;

	if (bytes && printable(code)) {
		if (code == '"' || code == '\\')
			putc('\\', out);
		fwrite(text, 1, bytes, out);
		return;
	}
	for (i = 0; i < (bytes ? bytes : 1); i++)
		fprintf(out, "\\x%02x", text[i]);
}

void text_quote(FILE *out, const uint8_t *text, size_t len)
{
	uint32_t code = 0;
	size_t bytes;

	putc('"', out);
	while (len) {
		bytes = decode(text, len, &code);
		quote_char(out, text, bytes, code);
		if (!bytes)
			bytes = 1;
		text += bytes;
		len -= bytes;
	}
	putc('"', out);
}

/* Beyond U+FFFF it takes a surrogate pair. */
static void json_escape(FILE *out, uint32_t code)
{
	if (code > 0xffff) {
		code -= 0x10000;
		fprintf(out, "\\u%04x\\u%04x", 0xd800 | code >> 10,
			0xdc00 | (code & 0x3ff));
	} else {
		fprintf(out, "\\u%04x", code);
	}
}

static void json_char(FILE *out, const uint8_t *text, size_t bytes,
		      uint32_t code)
{
	if (!bytes) {
		fputs("\\ufffd", out);
	} else if (controls(code)) {
		json_escape(out, code);
	} else {
		if (code == '"' || code == '\\')
			putc('\\', out);
		fwrite(text, 1, bytes, out);
	}
}

void text_json(FILE *out, const uint8_t *text, size_t len)
{
	uint32_t code = 0;
	size_t bytes;

	putc('"', out);
	while (len) {
		bytes = decode(text, len, &code);
		json_char(out, text, bytes, code);
		if (!bytes)
			bytes = 1;
		text += bytes;
		len -= bytes;
	}
	putc('"', out);
}
