/* Run the library on the test vectors, on the host or an emulated chip, and print its answers and
 * costs. With -DFROZEN it fits nothing and predicts from pfn_fitted.h. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

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

/* Instructions so far (the emulator counts them as nanoseconds of its clock), or 0 where nothing
 * counts them. */
#if defined(__riscv)
static uint64_t instructions(void) {
    uint32_t low, high, again;
    do {
        __asm__ volatile(".option push\n"
                         ".option arch, +zicsr\n"
                         "csrr %0, minstreth\n"
                         "csrr %1, minstret\n"
                         "csrr %2, minstreth\n"
                         ".option pop"
                         : "=r"(high), "=r"(low), "=r"(again));
    } while (high != again);
    return (uint64_t)high << 32 | low;
}
#elif defined(__ARM_ARCH_PROFILE) && __ARM_ARCH_PROFILE == 'M'
/* Control, reload and value: counts down, one tick is TICK_TENTHS / 10 ns. */
#define SYSTICK ((volatile uint32_t *)0xE000E010)
static uint32_t wraps, latest;
static uint64_t instructions(void) {
    if ((SYSTICK[0] & 1u) == 0) {
        SYSTICK[1] = 0xFFFFFF;
        SYSTICK[2] = 0;
        SYSTICK[0] = 5;
    }
    const uint32_t wrapped = SYSTICK[0] >> 16 & 1u, now = 0xFFFFFF - SYSTICK[2];
    wraps += wrapped || now < latest;
    latest = now;
    return (((uint64_t)wraps << 24) + now) * TICK_TENTHS / 10;
}
#else
static uint64_t instructions(void) {
    return 0;
}
#endif

/* Instructions since `start`, less those of counting; 0 where nothing was done. */
static uint64_t since(uint64_t start, uint64_t counting) {
    const uint64_t taken = instructions() - start;
    return taken > counting ? taken - counting : 0;
}

/* Paint memory below the stack pointer; `depth` then tells how much of it was used since. */
#define ROOM 4096
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
