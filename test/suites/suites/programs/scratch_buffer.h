/* What the C library's test support wants of its inner header of this name. */
#pragma once
#include <stdbool.h>
#include <stdlib.h>

struct scratch_buffer {
	void *data;
	size_t length;
	char space[1024];
};

static inline void scratch_buffer_init(struct scratch_buffer *b)
{
	b->data = b->space;
	b->length = sizeof b->space;
}

static inline void scratch_buffer_free(struct scratch_buffer *b)
{
	if (b->data != b->space)
		free(b->data);
}

static inline bool scratch_buffer_set_array_size(struct scratch_buffer *b, size_t n, size_t size)
{
	scratch_buffer_free(b);
	b->length = n * size;
	b->data = malloc(b->length);
	return b->data;
}

static inline bool scratch_buffer_grow(struct scratch_buffer *b)
{
	return scratch_buffer_set_array_size(b, 2, b->length);
}
