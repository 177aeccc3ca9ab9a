/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Text that a client chose: client identifiers and topic filters. It may hold
 * anything, escape sequences for the reader's terminal included, so it is only
 * ever printed through here.
 */
#ifndef CTL_TEXT_H
#define CTL_TEXT_H

#include <stdint.h>
#include <stdio.h>

/* Columns of a terminal that @text takes, which has been quoted already. */
size_t text_width(const char *text, size_t len);

/*
 * Writes @text in double quotes. Printable UTF-8 stays as it is; a quote and a
 * backslash get a backslash before them; each byte of anything else (control
 * and formatting characters, invalid UTF-8) becomes \xNN.
 */
void text_quote(FILE *out, const uint8_t *text, size_t len);

/*
 * Writes @text as a JSON string. Control and formatting characters become
 * \uNNNN, each byte that is no part of valid UTF-8 becomes U+FFFD.
 */
void text_json(FILE *out, const uint8_t *text, size_t len);

#endif
