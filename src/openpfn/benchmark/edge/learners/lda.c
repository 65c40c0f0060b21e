/* Linear discriminants: classes share a covariance, which is shrunk towards that of a ball. */
#include <stdint.h>

#define SHRINKAGE 0.2f

typedef struct {
    float weight[MAX_CLASSES][MAX_FEATURES];
    float constant[MAX_CLASSES];
} learner_state;

#include "learner.h"

/* Solve a b = right in place, a (n, n) symmetric and positive: Cholesky's factor overwrites the
 * lower half of a. */
static void solve(float a[MAX_FEATURES][MAX_FEATURES], int32_t n, float *right) {
    for (int32_t i = 0; i < n; i++) { /* forwards */
        for (int32_t k = 0; k < i; k++) {
            right[i] -= a[i][k] * right[k];
        }
        right[i] /= a[i][i];
    }
    for (int32_t i = n - 1; i >= 0; i--) { /* backwards */
        for (int32_t k = i + 1; k < n; k++) {
            right[i] -= a[k][i] * right[k];
        }
        right[i] /= a[i][i];
    }
}

static void factorise(float a[MAX_FEATURES][MAX_FEATURES], int32_t n) {
    for (int32_t i = 0; i < n; i++) {
        for (int32_t j = 0; j <= i; j++) {
            for (int32_t k = 0; k < j; k++) {
                a[i][j] -= a[i][k] * a[j][k];
            }
            a[i][j] = j < i ? a[i][j] / a[j][j] : sqrtf(a[i][i] > 1e-6f ? a[i][i] : 1e-6f);
        }
    }
}

static void fit_state(learner *model, const float *x, const int32_t *y) {
    float z[MAX_FEATURES], mean[MAX_CLASSES][MAX_FEATURES] = {{0}}, trace = 0.0f;
    float covariance[MAX_FEATURES][MAX_FEATURES] = {{0}};
    const int32_t d = model->n_features;
    for (int32_t i = 0; i < model->n_rows; i++) {
        standardise(model, x + i * d, z);
        for (int32_t j = 0; j < d; j++) {
            mean[y[i]][j] += z[j] / (float)model->class_rows[y[i]];
        }
    }
    for (int32_t i = 0; i < model->n_rows; i++) {
        standardise(model, x + i * d, z);
        for (int32_t j = 0; j < d; j++) {
            for (int32_t k = 0; k <= j; k++) {
                covariance[j][k] +=
                    (z[j] - mean[y[i]][j]) * (z[k] - mean[y[i]][k]) / (float)model->n_rows;
            }
        }
    }
    for (int32_t j = 0; j < d; j++) {
        trace += covariance[j][j];
    }
    for (int32_t j = 0; j < d; j++) {
        for (int32_t k = 0; k <= j; k++) {
            covariance[j][k] *= 1.0f - SHRINKAGE;
        }
        covariance[j][j] += SHRINKAGE * trace / (float)d;
    }
    factorise(covariance, d);
    for (int32_t c = 0; c < model->n_classes; c++) {
        if (model->class_rows[c] > 0) {
            memcpy(model->state.weight[c], mean[c], sizeof mean[c]);
            solve(covariance, d, model->state.weight[c]);
            model->state.constant[c] = logf((float)model->class_rows[c]);
            for (int32_t j = 0; j < d; j++) {
                model->state.constant[c] -= 0.5f * mean[c][j] * model->state.weight[c][j];
            }
        }
    }
}

static void score(const learner *model, const float *z, float *scores) {
    for (int32_t c = 0; c < model->n_classes; c++) {
        scores[c] = model->state.constant[c];
        for (int32_t j = 0; j < model->n_features; j++) {
            scores[c] += model->state.weight[c][j] * z[j];
        }
    }
}
