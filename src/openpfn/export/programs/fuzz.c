/* Feed any bytes as rows, labels, sizes and saved contexts to the library: nothing may crash, and
 * every answer must be a distribution.
 *
 * With clang: -fsanitize=fuzzer,address,undefined -DPFN_LIBFUZZER. Elsewhere main() makes inputs of
 * its own. */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pfn.h"

static pfn_context context;
static pfn_workspace scratch;
static uint8_t saved[PFN_SAVED_BYTES];
static long n_fitted, n_loaded;

typedef struct {
    const uint8_t *bytes;
    size_t size, at;
    int32_t n_features, n_classes, n_rows;
} input_reader;

static uint8_t next_byte(input_reader *input) {
    return input->at < input->size ? input->bytes[input->at++] : 0;
}

/* Mostly small numbers, at times any float at all. */
static float next_float(input_reader *input) {
    const uint8_t kind = next_byte(input);
    uint32_t bits = 0;
    float value;
    if (kind < 200) {
        return ((float)kind - 100.0f) * 0.25f;
    }
    for (int32_t i = 0; i < 4; i++) {
        bits = bits << 8 | next_byte(input);
    }
    memcpy(&value, &bits, sizeof value);
    return kind < 220 ? NAN : value;
}

static int32_t next_row(void *user, int32_t row, float *x, int32_t *y) {
    input_reader *input = user;
    if (row == 0) {
        input->at = 4;
    }
    if (row >= input->n_rows) {
        return 0;
    }
    for (int32_t j = 0; j < input->n_features; j++) {
        x[j] = next_float(input);
    }
    const int32_t label = next_byte(input), odd = next_byte(input);
    *y = odd == 255 ? label - 128 : label % (input->n_classes > 0 ? input->n_classes : 1);
    return odd == 254 ? -1 : 1;
}

static void ask(input_reader *input) {
    float row[PFN_MAX_FEATURES], proba[PFN_MAX_CLASSES], total = 0.0f;
    for (int32_t j = 0; j < PFN_MAX_FEATURES; j++) {
        row[j] = next_float(input);
    }
    if (pfn_predict_proba(&context, row, proba, &scratch) != PFN_OK) {
        return;
    }
    for (int32_t c = 0; c < context.n_classes; c++) {
        total += proba[c];
    }
    if (fabsf(total - 1.0f) > 1e-4f) {
        abort(); /* finite weights and finite values: the answer is a distribution */
    }
}

/* The checksum of saved contexts. */
static uint32_t crc_32(const uint8_t *bytes, int32_t n) {
    uint32_t rest = UINT32_MAX;
    for (int32_t i = 0; i < 8 * n; i++) {
        const uint32_t bit = (uint32_t)bytes[i / 8] >> i % 8 & 1u;
        rest = rest >> 1 ^ (((rest ^ bit) & 1u) != 0 ? UINT32_C(0xEDB88320) : 0u);
    }
    return ~rest;
}

/* Load bytes that were damaged, with and without a checksum that fits: only whole contexts may be
 * accepted. */
static void load_damaged(input_reader *input, int32_t n_saved) {
    uint8_t bytes[PFN_SAVED_BYTES];
    float row[PFN_MAX_FEATURES] = {0}, proba[PFN_MAX_CLASSES];
    memcpy(bytes, saved, (size_t)n_saved);
    for (int32_t i = next_byte(input) % 4; i >= 0; i--) {
        const int32_t near = next_byte(input), far = near * 256 + next_byte(input);
        bytes[(near < 128 ? near : far) % n_saved] = next_byte(input);
    }
    if (next_byte(input) < 230) {
        const uint32_t sum = crc_32(bytes, n_saved - 4);
        memcpy(bytes + n_saved - 4, &sum, sizeof sum);
    }
    const int32_t n_bytes = next_byte(input) < 20 ? next_byte(input) % n_saved : n_saved;
    if (pfn_context_load(&context, bytes, n_bytes) == PFN_OK) {
        n_loaded++;
        pfn_predict_proba(&context, row, proba, &scratch);
    }
    pfn_context_load(&context, input->bytes, (int32_t)input->size);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    input_reader input = {bytes, size, 0, 0, 0, 0};
    static float cache[256];
    int32_t n_saved = 0;
    input.n_features = next_byte(&input) % (PFN_MAX_FEATURES + 2);
    input.n_classes = next_byte(&input) % (PFN_MAX_CLASSES + 2);
    input.n_rows = next_byte(&input) % 12;
    const int32_t cache_bytes = next_byte(&input) * 4;
    memset(&scratch, bytes == NULL ? 0 : 0xC7, sizeof scratch);
    if (pfn_fit_stream(&context, next_row, &input, input.n_features, input.n_classes,
                       cache_bytes > 0 ? cache : NULL, cache_bytes, &scratch)
        == PFN_OK) {
        n_fitted++;
        ask(&input);
        if (pfn_context_save(&context, saved, (int32_t)sizeof saved, &n_saved) == PFN_OK) {
            load_damaged(&input, n_saved);
        }
    }
    return 0;
}

#ifndef PFN_LIBFUZZER
/* fuzz N: N inputs of up to 200 bytes, half of them changed copies of earlier ones; the same ones
 * each time. */
int main(int argc, char **argv) {
    const long n = argc > 1 ? atol(argv[1]) : 1000;
    static uint8_t kept[64][200];
    uint32_t state = 1;
    for (long i = 0; i < n; i++) {
        uint8_t *bytes = kept[i % 64];
        state = state * 1664525u + 1013904223u;
        const size_t size = state >> 8 & 127 ? 40 + (state >> 16) % 160 : (state >> 16) % 8;
        const int fresh = state >> 31 || i < 64;
        for (size_t j = 0; j < 200; j++) {
            state = state * 1664525u + 1013904223u;
            if (fresh || state >> 24 < 8) {
                bytes[j] = (uint8_t)(state >> 16 & 1 ? state >> 24 : (state >> 24) % 100);
            }
        }
        LLVMFuzzerTestOneInput(bytes, size);
    }
    printf(
        "%ld inputs, %ld fitted, %ld changed contexts with a mended checksum loaded, no finding\n",
        n, n_fitted, n_loaded);
    return 0;
}
#endif
