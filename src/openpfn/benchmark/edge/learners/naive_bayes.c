/* Gaussian naive Bayes; a share of the columns' variance is added to every variance. */
#include <stdint.h>

#define ADDED_VARIANCE 0.1f

typedef struct {
    float mean[MAX_CLASSES][MAX_FEATURES];
    float precision[MAX_CLASSES][MAX_FEATURES];
    float constant[MAX_CLASSES]; /* log of the class's share, less half the log of its variances */
} learner_state;

#include "learner.h"

static void fit_state(learner *model, const float *x, const int32_t *y) {
    learner_state *state = &model->state;
    float z[MAX_FEATURES];
    for (int32_t i = 0; i < model->n_rows; i++) {
        standardise(model, x + i * model->n_features, z);
        for (int32_t j = 0; j < model->n_features; j++) {
            state->mean[y[i]][j] += z[j] / (float)model->class_rows[y[i]];
        }
    }
    for (int32_t i = 0; i < model->n_rows; i++) {
        standardise(model, x + i * model->n_features, z);
        for (int32_t j = 0; j < model->n_features; j++) {
            const float deviation = z[j] - state->mean[y[i]][j];
            state->precision[y[i]][j] += deviation * deviation / (float)model->class_rows[y[i]];
        }
    }
    for (int32_t c = 0; c < model->n_classes; c++) {
        if (model->class_rows[c] > 0) {
            state->constant[c] = logf((float)model->class_rows[c]);
            for (int32_t j = 0; j < model->n_features; j++) {
                const float variance = state->precision[c][j] + ADDED_VARIANCE;
                state->precision[c][j] = 1.0f / variance;
                state->constant[c] -= 0.5f * logf(variance);
            }
        }
    }
}

static void score(const learner *model, const float *z, float *scores) {
    const learner_state *state = &model->state;
    for (int32_t c = 0; c < model->n_classes; c++) {
        scores[c] = state->constant[c];
        for (int32_t j = 0; j < model->n_features; j++) {
            const float deviation = z[j] - state->mean[c][j];
            scores[c] -= 0.5f * deviation * deviation * state->precision[c][j];
        }
    }
}
