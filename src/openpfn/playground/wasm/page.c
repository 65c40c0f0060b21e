/* The exported library as the page calls it: whole tables in, a context and its state out. Memory
 * behind `__heap_base` is the page's own. */
#include "pfn.h"

#include <string.h>

#define EXPORT(name) __attribute__((export_name(#name))) name

static pfn_context context;
static pfn_workspace scratch;

int32_t EXPORT(model_id)(void) {
    return (int32_t)PFN_MODEL_ID;
}

int32_t EXPORT(max_features)(void) {
    return PFN_MAX_FEATURES;
}

int32_t EXPORT(max_classes)(void) {
    return PFN_MAX_CLASSES;
}

/* What one context row takes in the row cache. */
int32_t EXPORT(cache_bytes)(int32_t n_features) {
    return PFN_CACHE_BYTES(1, n_features);
}

typedef struct {
    const float *x;
    const int32_t *y;
    int32_t n_rows, n_features;
} rows_in_memory;

static int32_t next_row(void *user, int32_t row, float *x, int32_t *y) {
    const rows_in_memory *table = user;
    if (row >= table->n_rows) {
        return 0;
    }
    memcpy(x, table->x + row * table->n_features, sizeof(float) * (size_t)table->n_features);
    *y = table->y[row];
    return 1;
}

/* Fit x (n_rows, n_features) and y (n_rows), with a row cache of `cache_bytes`. */
int32_t EXPORT(fit)(const float *x, const int32_t *y, int32_t n_rows, int32_t n_features,
                    int32_t n_classes, void *cache, int32_t cache_bytes) {
    rows_in_memory table = {x, y, n_rows, n_features};
    if (cache_bytes == 0) {
        cache = NULL;
    }
    return (int32_t)pfn_fit_stream(&context, next_row, &table, n_features, n_classes, cache,
                                   cache_bytes, &scratch);
}

/* proba (n_rows, n_classes) of rows (n_rows, n_features). */
int32_t EXPORT(predict)(const float *rows, int32_t n_rows, float *proba) {
    pfn_status status = PFN_OK;
    for (int32_t row = 0; row < n_rows && status == PFN_OK; row++) {
        status = pfn_predict_proba(&context, rows + row * context.n_features,
                                   proba + row * context.n_classes, &scratch);
    }
    return (int32_t)status;
}

/* Columns that vary, whose states come one after the other: (layers - 1, columns + 1), then the
 * target's of the last layer. */
int32_t EXPORT(n_columns)(void) {
    return context.n_columns;
}

int32_t EXPORT(n_layers)(void) {
    return PFN_N_LAYERS;
}

int32_t EXPORT(state_bytes)(void) {
    return (int32_t)sizeof(pfn_state);
}

const void *EXPORT(states)(void) {
    return context.states;
}
