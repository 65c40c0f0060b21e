/* What the runtime needs of the C library: WebAssembly's own instructions. */
#ifndef STRING_H
#define STRING_H

#include <stddef.h>

#define memcpy(to, from, n) __builtin_memcpy(to, from, n)
#define memset(to, value, n) __builtin_memset(to, value, n)

#endif
