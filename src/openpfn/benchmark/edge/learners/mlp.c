/* A small MLP, trained by stochastic gradient descent with momentum, one context row a step. */
#include <stdint.h>

enum { HIDDEN = 8, STEPS = 3000 };
#define RATE 0.02f
#define MOMENTUM 0.9f
#define DECAY 1e-2f

typedef struct {
    float inner[HIDDEN][MAX_FEATURES + 1]; /* the last one is the bias's */
    float outer[MAX_CLASSES][HIDDEN + 1];
} learner_state;

#include "learner.h"

/* A number between -1 and 1 (Lehmer's generator). */
static float next_random(uint32_t *seed) {
    *seed = (uint32_t)((uint64_t)*seed * 48271u % 2147483647u);
    return (float)(*seed >> 8) * (1.0f / 4194304.0f) - 1.0f;
}

/* hidden (HIDDEN) = relu(inner z) */
static void hide(const learner *model, const float *z, float *hidden) {
    for (int32_t h = 0; h < HIDDEN; h++) {
        const float *weight = model->state.inner[h];
        hidden[h] = weight[model->n_features];
        for (int32_t j = 0; j < model->n_features; j++) {
            hidden[h] += weight[j] * z[j];
        }
        hidden[h] = hidden[h] > 0.0f ? hidden[h] : 0.0f;
    }
}

static void answer(const learner *model, const float *hidden, float *scores) {
    for (int32_t c = 0; c < model->n_classes; c++) {
        scores[c] = model->state.outer[c][HIDDEN];
        for (int32_t h = 0; h < HIDDEN; h++) {
            scores[c] += model->state.outer[c][h] * hidden[h];
        }
    }
}

static void score(const learner *model, const float *z, float *scores) {
    float hidden[HIDDEN];
    hide(model, z, hidden);
    answer(model, hidden, scores);
}

/* One step of a weight; `speed` is what momentum keeps. */
static void move(float *weight, float *speed, float gradient) {
    *speed = MOMENTUM * *speed - RATE * gradient;
    *weight += *speed;
}

static void fit_state(learner *model, const float *x, const int32_t *y) {
    learner_state *state = &model->state, speed = {0};
    const int32_t d = model->n_features;
    const float spread = sqrtf(3.0f / (float)d);
    uint32_t seed = 1;
    for (int32_t h = 0; h < HIDDEN; h++) {
        for (int32_t j = 0; j < d; j++) {
            state->inner[h][j] = spread * next_random(&seed);
        }
    }
    for (int32_t step = 0; step < STEPS; step++) {
        float z[MAX_FEATURES], hidden[HIDDEN], proba[MAX_CLASSES], back[HIDDEN] = {0};
        const int32_t i = (int32_t)((next_random(&seed) + 1.0f) * 0.5f * (float)model->n_rows);
        const int32_t row = i < model->n_rows ? i : model->n_rows - 1;
        standardise(model, x + row * d, z);
        hide(model, z, hidden);
        answer(model, hidden, proba);
        softmax(model, proba);
        for (int32_t c = 0; c < model->n_classes; c++) {
            const float error = proba[c] - (y[row] == c ? 1.0f : 0.0f);
            for (int32_t h = 0; h < HIDDEN; h++) {
                float *weight = &state->outer[c][h];
                back[h] += error * *weight;
                move(weight, &speed.outer[c][h], error * hidden[h] + DECAY * *weight);
            }
            move(&state->outer[c][HIDDEN], &speed.outer[c][HIDDEN], error);
        }
        for (int32_t h = 0; h < HIDDEN; h++) {
            const float passed = hidden[h] > 0.0f ? back[h] : 0.0f;
            for (int32_t j = 0; j < d; j++) {
                float *weight = &state->inner[h][j];
                move(weight, &speed.inner[h][j], passed * z[j] + DECAY * *weight);
            }
            move(&state->inner[h][d], &speed.inner[h][d], passed);
        }
    }
}
