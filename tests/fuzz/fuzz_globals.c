#include <stdlib.h>
#include <string.h>

#include "pg/globals.h"

/* Whatever the text, no statement is empty, holds a 0 byte, or begins with what psql takes for a command (R43). */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct globals_list list = GLOBALS_LIST_INIT;
	struct err e = ERR_INIT;

	if (globals_split(&list, data, bytes, &e) == 0)
		for (size_t i = 0; i < list.n; i++)
			if (list.statements[i][0] == '\0' || list.statements[i][0] == '\\')
				abort();
	globals_list_free(&list);
	return 0;
}
