/* Logistic regression, maximum a posteriori with unit normal weights: the sum of the losses and
 * half the squared weights, minimised by accelerated gradient descent (Nesterov 1983). */
#include <stdint.h>

enum { STEPS = 300 };

typedef struct {
    float weight[MAX_CLASSES][MAX_FEATURES + 1]; /* the last one is the intercept's */
} learner_state;

#include "learner.h"

static void score(const learner *model, const float *z, float *scores) {
    for (int32_t c = 0; c < model->n_classes; c++) {
        const float *weight = model->state.weight[c];
        scores[c] = weight[model->n_features];
        for (int32_t j = 0; j < model->n_features; j++) {
            scores[c] += weight[j] * z[j];
        }
    }
}

/* gradient (classes, features + 1) of the loss at the model's weights; gives the squared length of
 * the rows, intercepts counted, which bounds the curvature. */
static float slope(const learner *model, const float *x, const int32_t *y, float penalty,
                   float gradient[MAX_CLASSES][MAX_FEATURES + 1]) {
    float z[MAX_FEATURES], proba[MAX_CLASSES], lengths = 0.0f;
    const int32_t d = model->n_features;
    for (int32_t c = 0; c < model->n_classes; c++) {
        for (int32_t j = 0; j < d; j++) {
            gradient[c][j] = penalty * model->state.weight[c][j];
        }
        gradient[c][d] = 0.0f;
    }
    for (int32_t i = 0; i < model->n_rows; i++) {
        standardise(model, x + i * d, z);
        score(model, z, proba);
        softmax(model, proba);
        lengths += 1.0f;
        for (int32_t j = 0; j < d; j++) {
            lengths += z[j] * z[j];
        }
        for (int32_t c = 0; c < model->n_classes; c++) {
            const float error = proba[c] - (y[i] == c ? 1.0f : 0.0f);
            for (int32_t j = 0; j < d; j++) {
                gradient[c][j] += error * z[j];
            }
            gradient[c][d] += error;
        }
    }
    return lengths;
}

static void fit_state(learner *model, const float *x, const int32_t *y) {
    float gradient[MAX_CLASSES][MAX_FEATURES + 1], before[MAX_CLASSES][MAX_FEATURES + 1] = {{0}};
    /* with two classes one vector of weights is penalised, not two that differ in their sign */
    const float penalty = model->n_present == 2 ? 2.0f : 1.0f;
    float age = 0.0f;
    for (int32_t step = 0; step < STEPS; step++) {
        const float lengths = slope(model, x, y, penalty, gradient);
        const float rate = 1.0f / (0.5f * lengths + penalty);
        float uphill = 0.0f;
        for (int32_t c = 0; c < model->n_classes; c++) {
            for (int32_t j = 0; j <= model->n_features; j++) {
                uphill += gradient[c][j]
                          * (model->state.weight[c][j] - rate * gradient[c][j] - before[c][j]);
            }
        }
        age = uphill > 0.0f ? 0.0f : age + 1.0f; /* restart where momentum leads uphill */
        for (int32_t c = 0; c < model->n_classes; c++) {
            for (int32_t j = 0; j <= model->n_features; j++) {
                const float now = model->state.weight[c][j] - rate * gradient[c][j];
                model->state.weight[c][j] = now + age / (age + 3.0f) * (now - before[c][j]);
                before[c][j] = now;
            }
        }
    }
    memcpy(model->state.weight, before, sizeof before);
}
