/* A method that is fitted on the chip: the interface, and the standardisation that all share. Each
 * method is one file, which says what it keeps (learner_state) before it includes this.
 *
 * C99 without allocation. A missing value is NaN and counts as its column's mean. */
#ifndef LEARNER_H
#define LEARNER_H

#include <math.h>
#include <string.h>

typedef struct {
    int32_t n_rows, n_features, n_classes;
    int32_t n_present; /* classes that context rows have */
    int32_t class_rows[MAX_CLASSES];
    float mean[MAX_FEATURES];
    float inverse_std[MAX_FEATURES]; /* 1 for a column that does not vary */
    learner_state state;
} learner;

/* What each method's file defines: fit on rows that `standardise` reads, and scores (classes) whose
 * softmax are the probabilities. */
static void fit_state(learner *model, const float *x, const int32_t *y);
static void score(const learner *model, const float *z, float *scores);

/* z (features): a row in units of its columns' deviations. */
static void standardise(const learner *model, const float *row, float *z) {
    for (int32_t j = 0; j < model->n_features; j++) {
        z[j] = row[j] == row[j] ? (row[j] - model->mean[j]) * model->inverse_std[j] : 0.0f;
    }
}

/* Mean and deviation of column j, whose missing values count as the mean. */
static void fit_column(learner *model, const float *x, int32_t j) {
    float sum = 0.0f, squares = 0.0f;
    int32_t n = 0;
    for (int32_t i = 0; i < model->n_rows; i++) {
        const float value = x[i * model->n_features + j];
        if (value == value) {
            sum += value;
            n++;
        }
    }
    const float mean = n > 0 ? sum / (float)n : 0.0f;
    for (int32_t i = 0; i < model->n_rows; i++) {
        const float value = x[i * model->n_features + j];
        if (value == value) {
            squares += (value - mean) * (value - mean);
        }
    }
    model->mean[j] = mean;
    model->inverse_std[j] = squares > 0.0f ? 1.0f / sqrtf(squares / (float)model->n_rows) : 1.0f;
}

/* Probabilities, in place of scores; 0 for classes without context rows. */
static void softmax(const learner *model, float *scores) {
    float most = -INFINITY, total = 0.0f;
    for (int32_t c = 0; c < model->n_classes; c++) {
        if (model->class_rows[c] > 0 && scores[c] > most) {
            most = scores[c];
        }
    }
    for (int32_t c = 0; c < model->n_classes; c++) {
        scores[c] = model->class_rows[c] > 0 ? expf(scores[c] - most) : 0.0f;
        total += scores[c];
    }
    for (int32_t c = 0; c < model->n_classes; c++) {
        scores[c] /= total;
    }
}

/* Fit rows x (n_rows, n_features) with labels y (n_rows) below n_classes; 0 where they do not fit
 * into the memory. */
int32_t learner_fit(learner *model, const float *x, const int32_t *y, int32_t n_rows,
                    int32_t n_features, int32_t n_classes) {
    if (n_rows < 1 || n_rows > MAX_ROWS || n_features < 1 || n_features > MAX_FEATURES
        || n_classes < 1 || n_classes > MAX_CLASSES) {
        return 0;
    }
    memset(model, 0, sizeof *model);
    model->n_rows = n_rows;
    model->n_features = n_features;
    model->n_classes = n_classes;
    for (int32_t i = 0; i < n_rows; i++) {
        model->class_rows[y[i]]++;
    }
    for (int32_t c = 0; c < n_classes; c++) {
        model->n_present += model->class_rows[c] > 0;
    }
    for (int32_t j = 0; j < n_features; j++) {
        fit_column(model, x, j);
    }
    fit_state(model, x, y);
    return 1;
}

/* proba (n_classes): the probability of each class. */
void learner_predict_proba(const learner *model, const float *row, float *proba) {
    float z[MAX_FEATURES];
    standardise(model, row, z);
    score(model, z, proba);
    softmax(model, proba);
}
#endif
