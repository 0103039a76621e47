#include "base/near.h"

#include <string.h>

enum { WORD_MAX = 64 };

static size_t
least(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* Edits between two words, two letters in each other's place being one (Damerau, optimal string alignment). */
static size_t
edits(const char *a, const char *b)
{
	size_t rows[3][WORD_MAX + 1], n = strlen(a), m = strlen(b);

	if (n > WORD_MAX || m > WORD_MAX)
		return WORD_MAX;
	for (size_t j = 0; j <= m; j++)
		rows[0][j] = j;
	for (size_t i = 1; i <= n; i++) {
		size_t *now = rows[i % 3], *before = rows[(i + 2) % 3], *earlier = rows[(i + 1) % 3];

		now[0] = i;
		for (size_t j = 1; j <= m; j++) {
			now[j] = least(before[j - 1] + (a[i - 1] != b[j - 1]), least(before[j], now[j - 1]) + 1);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				now[j] = least(now[j], earlier[j - 2] + 1);
		}
	}
	return rows[n % 3][m];
}

void
near_offer(struct near *n, const char *word)
{
	size_t d = edits(n->wanted, word), longest = strlen(n->wanted) > strlen(word) ? strlen(n->wanted) : strlen(word);
	size_t limit = longest < 3 ? 1 : longest < 7 ? 2 : longest / 3;
	size_t typed = strlen(n->wanted);

	/* A word that was only begun ("comp") is the beginning of what was meant, however much of it is missing. */
	if (typed >= 3 && strncmp(n->wanted, word, typed) == 0)
		d = 1;
	if (d <= limit && (n->best == NULL || d < n->distance)) {
		n->best = word;
		n->distance = d;
	}
}
