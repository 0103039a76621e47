/* A stored outcome is material from outside (R46): whatever is in it, each text is made, ends, and holds no control character. */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "report/render.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void
check(char *text, const char *forbidden)
{
	for (const char *p = text; *p != '\0'; p++)
		if (((unsigned char)*p < ' ' && *p != '\n') || *p == 0x7f)
			abort();
	if (forbidden != NULL && strstr(text, forbidden) != NULL)
		abort();
	free(text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct err e = ERR_INIT;
	json_t *outcome = json_parse(data, bytes, "fuzz", &e), *whole;

	if (outcome == NULL)
		return 0;
	/* As it is, and as the drill in the outcome of `report`. */
	whole = json_object();
	json_put(whole, "drill", json_incref(outcome));
	for (int i = 0; i < 2; i++) {
		const json_t *o = i == 0 ? outcome : whole;

		check(report_text(o, false, (unsigned)bytes), NULL);
		check(report_markdown(o), NULL);
		check(report_html(o), "<script");
	}
	json_decref(whole);
	json_decref(outcome);
	return 0;
}
