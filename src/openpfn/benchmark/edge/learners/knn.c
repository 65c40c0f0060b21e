/* Nearest neighbours: the classes of the five nearest context rows, and one more vote for each
 * class, so that no probability is 0. */
#include <stdint.h>

enum { NEIGHBOURS = 5 };

typedef struct {
    float rows[MAX_ROWS][MAX_FEATURES];
    uint8_t label[MAX_ROWS];
} learner_state;

#include "learner.h"

static void fit_state(learner *model, const float *x, const int32_t *y) {
    for (int32_t i = 0; i < model->n_rows; i++) {
        standardise(model, x + i * model->n_features, model->state.rows[i]);
        model->state.label[i] = (uint8_t)y[i];
    }
}

static void score(const learner *model, const float *z, float *scores) {
    float nearest[NEIGHBOURS], votes[MAX_CLASSES] = {0};
    int32_t label[NEIGHBOURS] = {0}, n = 0;
    for (int32_t i = 0; i < model->n_rows; i++) {
        float distance = 0.0f;
        for (int32_t j = 0; j < model->n_features; j++) {
            const float difference = z[j] - model->state.rows[i][j];
            distance += difference * difference;
        }
        if (n < NEIGHBOURS || distance < nearest[n - 1]) {
            int32_t place = n < NEIGHBOURS ? n++ : n - 1;
            for (; place > 0 && distance < nearest[place - 1]; place--) {
                nearest[place] = nearest[place - 1];
                label[place] = label[place - 1];
            }
            nearest[place] = distance;
            label[place] = model->state.label[i];
        }
    }
    for (int32_t i = 0; i < n; i++) {
        votes[label[i]] += 1.0f;
    }
    for (int32_t c = 0; c < model->n_classes; c++) {
        scores[c] = logf(votes[c] + 1.0f);
    }
}
