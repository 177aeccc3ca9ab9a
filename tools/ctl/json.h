/* SPDX-License-Identifier: GPL-2.0 */
/*
 * JSON on standard output, written as it comes. @name is the member's name in
 * an object, NULL in an array and at the top. What is in the outermost array or
 * object has a line each.
 */
#ifndef CTL_JSON_H
#define CTL_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void json_object(const char *name);
void json_object_end(void);
void json_array(const char *name);
void json_array_end(void);

void json_uint(const char *name, uint64_t value);
void json_bool(const char *name, bool value);
void json_null(const char *name);
/* @value is ours. */
void json_string(const char *name, const char *value);
/* @text is a client's. */
void json_text(const char *name, const void *text, size_t len);

#endif
