/* Send any lines to a board: nothing may crash, and every line has an answer.
 *
 * With clang: -fsanitize=fuzzer,address,undefined -DPFN_LIBFUZZER. Elsewhere main() makes
 * conversations of its own. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pfn_serial.h"

static const uint8_t *next, *end;
static long n_lines, n_fitted, n_answered;
static char heard[15];
static int32_t n_heard;

static int32_t next_byte(void) {
    return next < end ? *next++ : -1;
}

/* Take what the board says, and count its lines by their first word. */
static void hear(const char *bytes, int32_t n) {
    for (int32_t i = 0; i < n; i++) {
        if (bytes[i] == '\n') {
            n_lines++;
            n_fitted += memcmp(heard, "fitted 00000000", sizeof heard) == 0;
            n_answered += memcmp(heard, "answer 00000000", sizeof heard) == 0;
            n_heard = 0;
        } else if (n_heard < (int32_t)sizeof heard) {
            heard[n_heard++] = bytes[i];
        }
    }
}

static uint32_t clock_of_board(void) {
    return (uint32_t)n_lines;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    static pfn_board board;
    board.read = next_byte;
    board.write = hear;
    board.clock = clock_of_board;
    next = bytes;
    end = bytes + size;
    while (next < end) {
        const uint8_t *before = next;
        const long said = n_lines;
        pfn_serial_answer(&board);
        if (next == before
            || (n_lines == said && next < end && next[-1] == '\n' && next - before > 1)) {
            abort(); /* bytes were not taken, or a whole line had no answer */
        }
    }
    return 0;
}

#ifndef PFN_LIBFUZZER
static uint32_t state = 1;
static uint32_t below(uint32_t n) {
    state = state * 1664525u + 1013904223u;
    return (state >> 8) % n;
}

static char text[4000];
static size_t size;

/* A line: a word and about as many numbers as it should have. */
static void line(const char *word, uint32_t n_values) {
    size += (size_t)sprintf(text + size, "%s", word);
    for (uint32_t values = below(50) > 0 ? n_values : below(5); values > 0; values--) {
        const uint32_t label = below(2), real = 0x3f000000u + below(0x1000000),
                       any = below(256) << 24 | below(65536);
        size += (size_t)sprintf(text + size, " %08x",
                                (unsigned)(values == 3     ? label
                                           : below(20) > 0 ? real
                                                           : any));
    }
    text[size++] = '\n';
}

/* fuzz_serial N: N conversations, mostly well formed: fits of some rows, several times over, and
 * questions; the same ones each time. */
int main(int argc, char **argv) {
    const long n = argc > 1 ? atol(argv[1]) : 1000;
    for (long i = 0; i < n; i++) {
        size = 0;
        line("hello", 0);
        size += (size_t)sprintf(text + size, "fit 0000000%u 00000002\n",
                                below(20) > 0 ? 2u : below(10));
        const uint32_t n_rows = 2 + below(4);
        for (uint32_t pass = 3 + below(4); pass > 0; pass--) {
            for (uint32_t row = 0; row < n_rows; row++) {
                line("row", 3);
            }
            line("end", 0);
        }
        for (uint32_t asked = below(4); asked > 0; asked--) {
            line(below(10) > 0 ? "ask" : "nonsense", 2);
        }
        for (uint32_t damage = below(3); damage > 0; damage--) {
            text[below((uint32_t)size)] = (char)below(256);
        }
        LLVMFuzzerTestOneInput((const uint8_t *)text, size);
    }
    printf("%ld inputs, %ld lines of answer, %ld fitted, %ld asked, no finding\n", n, n_lines,
           n_fitted, n_answered);
    return 0;
}
#endif
