/* Run the library on the test vectors, on the host or an emulated chip, and print its answers and
 * costs. With -DFROZEN it fits nothing and predicts from pfn_fitted.h. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "counting.h"
#include "pfn.h"
#include "pfn_vectors.h"

#ifdef FROZEN
#include "pfn_fitted.h"
#define CONTEXT pfn_fitted
#define CONTEXT_BYTES 0 /* of memory */
#define LOADED loaded
static pfn_context loaded;
#else
#define CONTEXT context
#define LOADED context /* small chips have no room for two */
#define CONTEXT_BYTES PFN_CONTEXT_BYTES
static pfn_context context;
#if CACHED_ROWS > 0
static float cache[PFN_CACHE_BYTES(CACHED_ROWS, N_FEATURES) / 4];
#define CACHE cache, (int32_t)sizeof cache
#else
#define CACHE NULL, 0
#endif
#endif

static pfn_workspace scratch;
static uint8_t saved[PFN_SAVED_BYTES];

static int fail(const char *what, pfn_status status) {
    printf("%s failed with status %d\n", what, (int)status);
    return 1;
}

#ifdef FROZEN
static pfn_status fit(void) {
    return PFN_OK;
}
#else
/* The counter of Arm's chips wraps: it is read at some of the rows. */
static int32_t row_of_vectors(void *user, int32_t row, float *x, int32_t *y) {
    (void)user;
    if (row % 64 == 63) {
        instructions();
    }
    for (int32_t j = 0; j < N_FEATURES && row < N_ROWS; j++) {
        x[j] = context_x[row * N_FEATURES + j];
    }
    *y = row < N_ROWS ? context_y[row] : 0;
    return row < N_ROWS;
}

static pfn_status fit(void) {
    return pfn_fit_stream(&context, row_of_vectors, NULL, N_FEATURES, N_CLASSES, CACHE, &scratch);
}
#endif

static int run(void) {
    static union {
        float value;
        uint32_t bits;
    } logits[N_QUERIES][N_CLASSES], again[N_CLASSES];
    int32_t n_saved = 0;
    uint64_t start = instructions();
    const uint64_t nothing = instructions() - start;
    paint();
    start = instructions();
    pfn_status status = fit();
    const uint64_t fitting = since(start, nothing);
    const int32_t fit_stack = depth();
    if (status != PFN_OK) {
        return fail("fit", status);
    }
    paint();
    start = instructions();
    status = pfn_predict_proba(&CONTEXT, query_x, &again[0].value, &scratch);
    const uint64_t predict = since(start, nothing);
    const int32_t predict_stack = depth();
    for (int32_t q = 0; q < N_QUERIES && status == PFN_OK; q++) {
        status =
            pfn_predict_logits(&CONTEXT, query_x + q * N_FEATURES, &logits[q][0].value, &scratch);
    }
    if (status == PFN_OK) {
        status = pfn_context_save(&CONTEXT, saved, (int32_t)sizeof saved, &n_saved);
    }
    if (status == PFN_OK) {
        status = pfn_context_load(&LOADED, saved, n_saved);
    }
    if (status != PFN_OK) {
        return fail("predict, save or load", status);
    }
    printf("context_bytes %d\nscratch_bytes %d\nsaved_bytes %d\n", (int)CONTEXT_BYTES,
           (int)PFN_SCRATCH_BYTES, (int)n_saved);
    printf("fit_instructions %" PRIu64 "\npredict_instructions %" PRIu64 "\n", fitting, predict);
    printf("fit_stack %d\npredict_stack %d\n", (int)fit_stack, (int)predict_stack);
    for (int32_t q = 0; q < N_QUERIES; q++) {
        status = pfn_predict_logits(&LOADED, query_x + q * N_FEATURES, &again[0].value, &scratch);
        if (status != PFN_OK) {
            return fail("predict after loading", status);
        }
        printf("logits");
        for (int32_t c = 0; c < N_CLASSES; c++) {
            const uint32_t bits = logits[q][c].bits;
            printf(bits == again[c].bits ? " %08" PRIx32 : " differs-after-loading", bits);
        }
        printf("\n");
    }
    return 0;
}

int main(void) {
    exit(run()); /* a chip's start-up code may otherwise wait for ever after main */
}
