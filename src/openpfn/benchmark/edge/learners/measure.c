/* Fit and ask the learner in learner.c on the test vectors, on an emulated chip, and print its
 * costs; with -DSMALLEST, the smallest program that does so, which is linked to measure its size.
 * What was trained elsewhere defines TRAINED_ELSEWHERE and no learner_fit. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "learner.c"

#ifdef SMALLEST
int main(void);
volatile const void *volatile room[4];
volatile int32_t size; /* unknown to the compiler, which must leave nothing out */

int main(void) {
#ifndef TRAINED_ELSEWHERE
    learner_fit((learner *)room[0], (const float *)room[1], (const int32_t *)room[2], size,
                size, size);
#endif
    learner_predict_proba((const learner *)room[0], (const float *)room[1], (float *)room[3]);
    return 0;
}
#else
#include "counting.h"
#include "pfn_vectors.h"

static learner model;

static int run(void) {
    float proba[N_CLASSES];
    uint64_t start = instructions();
    const uint64_t nothing = instructions() - start;
    paint();
    start = instructions();
#ifndef TRAINED_ELSEWHERE
    if (!learner_fit(&model, context_x, context_y, N_ROWS, N_FEATURES, N_CLASSES)) {
        return 1;
    }
#endif
    const uint64_t fitting = since(start, nothing);
    const int32_t fit_stack = depth();
    start = instructions();
    learner_predict_proba(&model, query_x, proba);
    const uint64_t predict = since(start, nothing);
    printf("model_bytes %d\nfit_stack %d\n", (int)sizeof model, (int)fit_stack);
    printf("fit_instructions %" PRIu64 "\npredict_instructions %" PRIu64 "\n", fitting, predict);
    for (int32_t c = 0; c < N_CLASSES; c++) {
        printf("millionths %d\n", (int)(1e6f * proba[c] + 0.5f));
    }
    return 0;
}

int main(void) {
    exit(run()); /* a chip's start-up code may otherwise wait for ever after main */
}
#endif
