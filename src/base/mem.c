#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Noreturn void
out_of_memory(size_t bytes)
{
	fprintf(stderr, "holdfast: out of memory: %zu bytes could not be had; nothing was committed by this run\n", bytes);
	exit(1);
}

void *
mem_alloc(size_t bytes)
{
	void *p = malloc(bytes == 0 ? 1 : bytes);

	if (p == NULL)
		out_of_memory(bytes);
	return p;
}

void *
mem_zero(size_t count, size_t bytes)
{
	void *p = calloc(count == 0 ? 1 : count, bytes == 0 ? 1 : bytes);

	if (p == NULL)
		out_of_memory(bytes);
	return p;
}

void *
mem_grow(void *p, size_t count, size_t bytes)
{
	void *grown = reallocarray(p, count == 0 ? 1 : count, bytes == 0 ? 1 : bytes);

	if (grown == NULL)
		out_of_memory(bytes);
	return grown;
}

char *
mem_strdup(const char *s)
{
	return s == NULL ? NULL : mem_strndup(s, strlen(s));
}

char *
mem_strndup(const char *s, size_t bytes)
{
	char *copy = mem_alloc(bytes + 1);

	memcpy(copy, s, bytes);
	copy[bytes] = '\0';
	return copy;
}

char *
mem_printf(const char *format, ...)
{
	char *text = NULL;
	va_list args;

	va_start(args, format);
	if (vasprintf(&text, format, args) < 0)
		out_of_memory(strlen(format));
	va_end(args);
	return text;
}

void
mem_wipe(void *p, size_t bytes)
{
	if (p != NULL)
		explicit_bzero(p, bytes);
}

void
mem_free_secret(void *p, size_t bytes)
{
	mem_wipe(p, bytes);
	free(p);
}
