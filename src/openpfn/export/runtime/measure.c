/* Runs the library on the test vectors and prints what it answers and costs: on the host and on emulated chips. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "pfn.h"
#include "pfn_vectors.h"

#if CACHED_ROWS > 0
static float cache[PFN_CACHE_BYTES(CACHED_ROWS, N_FEATURES) / 4];
#define CACHE cache, (int32_t)sizeof cache
#else
#define CACHE NULL, 0
#endif

static pfn_context context, loaded;
static pfn_workspace scratch;
static uint8_t saved[PFN_SAVED_BYTES];

/* Instructions so far (the emulator counts them as nanoseconds of its clock), or 0 where nothing counts them. */
#if defined(__riscv)
static uint32_t instructions(void) {
    uint32_t count;
    __asm__ volatile(".option push\n.option arch, +zicsr\ncsrr %0, minstret\n.option pop" : "=r"(count));
    return count;
}
#elif defined(__ARM_ARCH_PROFILE) && __ARM_ARCH_PROFILE == 'M'
#define SYSTICK ((volatile uint32_t *)0xE000E010)    /* control, reload, value: counts down, one tick is TICK_NS */
static uint32_t wraps, latest;
static uint32_t instructions(void) {
    if ((SYSTICK[0] & 1u) == 0) {
        SYSTICK[1] = 0xFFFFFF;
        SYSTICK[2] = 0;
        SYSTICK[0] = 5;
    }
    const uint32_t wrapped = SYSTICK[0] >> 16 & 1u, now = 0xFFFFFF - SYSTICK[2];
    wraps += wrapped || now < latest;
    latest = now;
    return ((wraps << 24) + now) * TICK_NS;
}
#else
static uint32_t instructions(void) {
    return 0;
}
#endif

/* The deepest stack since `paint`: memory below the stack pointer that no longer holds the paint. */
#define ROOM 8192
static uintptr_t painted_from;
static void __attribute__((noinline)) paint(void) {
    volatile uint8_t room[ROOM];
    for (int32_t i = 0; i < ROOM; i++) {
        room[i] = 0xA5;
    }
    painted_from = (uintptr_t)&room[0];
}
static int32_t __attribute__((noinline)) depth(void) {
    const volatile uint8_t *room = (const volatile uint8_t *)painted_from;
    int32_t untouched = 0;
    while (untouched < ROOM && room[untouched] == 0xA5) {
        untouched++;
    }
    return ROOM - untouched;
}

static int32_t row_of_vectors(void *user, int32_t row, float *x, int32_t *y) {
    (void)user;
    for (int32_t j = 0; j < N_FEATURES && row < N_ROWS; j++) {
        x[j] = context_x[row * N_FEATURES + j];
    }
    *y = row < N_ROWS ? context_y[row] : 0;
    return row < N_ROWS;
}

static int fail(const char *what, pfn_status status) {
    printf("%s failed with status %d\n", what, (int)status);
    return 1;
}

static int run(void) {
    static float logits[N_CLASSES], again[N_CLASSES];
    int32_t n_saved = 0;
    uint32_t start = instructions();
    const uint32_t nothing = instructions() - start;
    paint();
    start = instructions();
    pfn_status status = pfn_fit_stream(&context, row_of_vectors, NULL, N_FEATURES, N_CLASSES, CACHE, &scratch);
    const uint32_t fit = instructions() - start - nothing;
    const int32_t fit_stack = depth();
    if (status != PFN_OK) {
        return fail("fit", status);
    }
    paint();
    start = instructions();
    status = pfn_predict_proba(&context, query_x, logits, &scratch);
    const uint32_t predict = instructions() - start - nothing;
    const int32_t predict_stack = depth();
    if (status == PFN_OK) {
        status = pfn_context_save(&context, saved, (int32_t)sizeof saved, &n_saved);
    }
    if (status == PFN_OK) {
        status = pfn_context_load(&loaded, saved, n_saved);
    }
    if (status != PFN_OK) {
        return fail("predict, save or load", status);
    }
    printf("context_bytes %d\nscratch_bytes %d\nsaved_bytes %d\n", (int)PFN_CONTEXT_BYTES, (int)PFN_SCRATCH_BYTES, (int)n_saved);
    printf("fit_instructions %" PRIu32 "\npredict_instructions %" PRIu32 "\n", fit, predict);
    printf("fit_stack %d\npredict_stack %d\n", (int)fit_stack, (int)predict_stack);
    for (int32_t q = 0; q < N_QUERIES; q++) {
        status = pfn_predict_logits(&context, query_x + q * N_FEATURES, logits, &scratch);
        if (status == PFN_OK) {
            status = pfn_predict_logits(&loaded, query_x + q * N_FEATURES, again, &scratch);
        }
        if (status != PFN_OK) {
            return fail("predict", status);
        }
        printf("logits");
        for (int32_t c = 0; c < N_CLASSES; c++) {
            union {
                float value;
                uint32_t bits;
            } word = {logits[c]}, other = {again[c]};
            printf(word.bits == other.bits ? " %08" PRIx32 : " differs-after-loading", word.bits);
        }
        printf("\n");
    }
    return 0;
}

int main(void) {
    exit(run());    /* a chip's start-up code may otherwise wait for ever after main */
}
