#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "store/s3_xml.h"

/* The answers of a store that is broken or hostile: a page of a listing, and an error. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct s3_page page = { .text = BUF_INIT };
	struct s3_error_text text;
	struct err e = ERR_INIT;

	if (s3_xml_list(&page, data, bytes, &e) == 0) {
		for (size_t i = 0; i < page.count; i++)
			assert(page.objects[i].key + strlen((char *)page.text.data + page.objects[i].key) < page.text.bytes);
		assert(!page.truncated || page.token[0] != '\0');
	} else {
		assert(e.kind == ERR_STORE);
	}
	s3_xml_page_clear(&page);
	if (s3_xml_error(&text, data, bytes))
		assert(text.code[0] != '\0' && memchr(text.message, 0, sizeof(text.message)) != NULL);
	return 0;
}
