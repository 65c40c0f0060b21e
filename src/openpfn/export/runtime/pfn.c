/* Fit, predict, save and load: what stands around the network. */

typedef struct pfn_fitting {
    pfn_context *ctx;
    pfn_row_source next_row;
    void *user;
    pfn_workspace *work;
    uint8_t *cache;                                                 /* cells of the first rows, as the latest layer left them */
    int32_t n_cached;
} pfn_fitting;

/* What a pass over the context rows does with each: row `number`, in the workspace, has `label`. */
typedef void (*pfn_step)(const pfn_fitting *fit, int32_t number, int32_t label, int32_t which);

/* Whether values are missing or of a size whose sums stay finite. */
static int row_is_fine(const float *row, int32_t n_features) {
    for (int32_t j = 0; j < n_features; j++) {
        if (row[j] == row[j] && !(magnitude(row[j]) <= LARGEST_VALUE)) {
            return 0;
        }
    }
    return 1;
}

/* One pass: `step` on every context row, all of them checked. The first pass counts the rows, the others must find as many. */
static pfn_status for_each_row(const pfn_fitting *fit, pfn_step step, int32_t which) {
    pfn_context *ctx = fit->ctx;
    int32_t number = 0, label = 0, got;
    while ((got = fit->next_row(fit->user, number, fit->work->row, &label)) == 1) {
        if (label < 0 || label >= ctx->n_classes) {
            return PFN_ERROR_LABEL;
        }
        if (!row_is_fine(fit->work->row, ctx->n_features)) {
            return PFN_ERROR_VALUE;
        }
        if (number == INT32_MAX - 1) {
            return PFN_ERROR_SOURCE;
        }
        step(fit, number, label, which);
        number++;
    }
    if (ctx->n_rows == 0) {
        ctx->n_rows = number;
    }
    return got == 0 && ctx->n_rows == number ? PFN_OK : PFN_ERROR_SOURCE;
}

/* sum + rest += x; what `sum` rounds off goes into `rest` (Neumaier 1974). */
static void add_exactly(float x, float *sum, float *rest) {
    const float total = *sum + x;
    *rest += magnitude(*sum) >= magnitude(x) ? (*sum - total) + x : (x - total) + *sum;
    *sum = total;
}

/* First pass: range, mean and number of each feature's values, rows of each class. */
static void count_row(const pfn_fitting *fit, int32_t number, int32_t label, int32_t which) {
    pfn_context *ctx = fit->ctx;
    (void)number, (void)which;
    fit->work->use.counts.class_rows[label]++;
    for (int32_t j = 0; j < ctx->n_features; j++) {
        const float x = fit->work->row[j];
        if (x != x) {
            continue;
        }
        if (fit->work->use.counts.n_values[j]++ == 0) {
            ctx->origin[j] = fit->work->use.counts.low[j] = fit->work->use.counts.high[j] = x;
        }
        if (x < fit->work->use.counts.low[j]) {
            fit->work->use.counts.low[j] = x;
        }
        if (x > fit->work->use.counts.high[j]) {
            fit->work->use.counts.high[j] = x;
        }
        add_exactly(x - ctx->origin[j], &fit->work->use.counts.sum[j], &fit->work->use.counts.rest[j]);
    }
}

/* Second pass: sums of squared deviations, as shares of the range. */
static void add_deviations(const pfn_fitting *fit, int32_t number, int32_t label, int32_t which) {
    const pfn_context *ctx = fit->ctx;
    (void)number, (void)label, (void)which;
    for (int32_t c = 0; c < ctx->n_columns; c++) {
        const float x = ctx->feature[c] == NO_FEATURE ? 0.0f : fit->work->row[ctx->feature[c]];
        const float deviation = ((x - ctx->origin[c]) - ctx->mean[c]) * ctx->inverse_std[c];
        if (x == x) {
            add_exactly(times(deviation, deviation), &fit->work->use.counts.sum[c], &fit->work->use.counts.rest[c]);
        }
    }
}

/* Which features vary (a missing value is a value), and their mean and deviation. */
static pfn_status fit_columns(const pfn_fitting *fit) {
    pfn_context *ctx = fit->ctx;
    memset(&fit->work->use.counts, 0, sizeof fit->work->use.counts);
    pfn_status status = for_each_row(fit, count_row, 0);
    if (status != PFN_OK) {
        return status;
    }
    for (int32_t j = 0; j < ctx->n_features; j++) {                 /* column c <= feature j: features move forward */
        const float range = fit->work->use.counts.high[j] - fit->work->use.counts.low[j];
        const int32_t n = fit->work->use.counts.n_values[j], c = ctx->n_columns;
        if (range > 0.0f || (n > 0 && n < ctx->n_rows)) {
            ctx->feature[c] = (uint8_t)j;
            ctx->origin[c] = ctx->origin[j];
            ctx->mean[c] = (fit->work->use.counts.sum[j] + fit->work->use.counts.rest[j]) / (float)n;
            ctx->inverse_std[c] = range > 1.0f / LARGEST_VALUE ? 1.0f / range : 0.0f;
            fit->work->use.counts.n_values[c] = n;
            ctx->n_columns++;
        }
    }
    if (ctx->n_columns == 0) {                                      /* nothing varies: one column of zeros */
        ctx->feature[0] = NO_FEATURE;
        ctx->origin[0] = ctx->mean[0] = ctx->inverse_std[0] = 0.0f;
        ctx->n_columns = 1;
    }
    memset(fit->work->use.counts.sum, 0, sizeof fit->work->use.counts.sum);
    memset(fit->work->use.counts.rest, 0, sizeof fit->work->use.counts.rest);
    status = for_each_row(fit, add_deviations, 0);
    for (int32_t c = 0; c < ctx->n_columns; c++) {
        const float squares = fit->work->use.counts.sum[c] + fit->work->use.counts.rest[c];
        if (squares > 0.0f) {
            ctx->inverse_std[c] *= inverse_root(squares / (float)(fit->work->use.counts.n_values[c] - 1));
        } else {
            ctx->inverse_std[c] = 0.0f;
        }
    }
    return status;
}

/* Sums of one feature over the rows of each class. */
static void add_to_class(const pfn_fitting *fit, int32_t number, int32_t label, int32_t feature) {
    const float x = fit->work->row[feature];
    (void)number;
    if (x == x) {
        fit->work->use.counts.class_values[label]++;
        add_exactly(x, &fit->work->use.counts.class_sum[label], &fit->work->use.counts.class_rest[label]);
    }
}

/* Whether class a has the smaller mean of the feature that was summed; a class without values comes last. */
static int has_smaller_mean(const pfn_workspace *work, int32_t a, int32_t b) {
    const int32_t n_a = work->use.counts.class_values[a], n_b = work->use.counts.class_values[b];
    if (n_a == 0 || n_b == 0) {
        return n_a > n_b;
    }
    const float total_a = work->use.counts.class_sum[a] + work->use.counts.class_rest[a];
    const float total_b = work->use.counts.class_sum[b] + work->use.counts.class_rest[b];
    if (n_a != n_b || total_a != total_b) {
        return total_a / (float)n_a < total_b / (float)n_b;
    }
    return work->use.counts.class_rest[a] - (total_a - work->use.counts.class_sum[a])
           < work->use.counts.class_rest[b] - (total_b - work->use.counts.class_sum[b]);
}

/* The canonical order of the classes, so that their names do not matter: frequent ones first; among equally frequent ones those
 * with the smaller mean of the first feature whose means differ. Classes that agree in all means keep the order of their labels. */
static pfn_status order_classes(const pfn_fitting *fit) {
    pfn_context *ctx = fit->ctx;
    const int32_t *rows = fit->work->use.counts.class_rows;
    const int32_t n = ctx->n_classes;
    int32_t ties = 0;
    for (int32_t c = 0; c < n; c++) {
        ctx->n_present += rows[c] > 0;
        ctx->place[c] = 0;
        for (int32_t d = 0; d < n; d++) {
            ctx->place[c] = (uint8_t)(ctx->place[c] + (rows[d] > rows[c]));
            ties += d < c && rows[c] > 0 && rows[d] == rows[c];
        }
    }
    for (int32_t j = 0; j <= ctx->n_features && ties > 0; j++) {
        uint8_t moves[PFN_MAX_CLASSES] = {0};
        if (j < ctx->n_features) {
            memset(fit->work->use.counts.class_values, 0, sizeof fit->work->use.counts.class_values);
            memset(fit->work->use.counts.class_sum, 0, sizeof fit->work->use.counts.class_sum);
            memset(fit->work->use.counts.class_rest, 0, sizeof fit->work->use.counts.class_rest);
            const pfn_status status = for_each_row(fit, add_to_class, j);
            if (status != PFN_OK) {
                return status;
            }
        }
        for (int32_t c = 0; c < n; c++) {
            for (int32_t d = 0; d < n; d++) {
                if (d != c && ctx->place[d] == ctx->place[c]) {
                    moves[c] = (uint8_t)(moves[c] + (j < ctx->n_features ? has_smaller_mean(fit->work, d, c) : d < c));
                }
            }
        }
        ties = 0;
        for (int32_t c = 0; c < n; c++) {
            ctx->place[c] = (uint8_t)(ctx->place[c] + moves[c]);
            for (int32_t d = 0; d < c; d++) {
                ties += ctx->place[d] == ctx->place[c] && rows[c] > 0;
            }
        }
    }
    return PFN_OK;
}

/* A context row enters the states of layer `which`. */
static void show(const pfn_fitting *fit, int32_t number, int32_t label, int32_t which) {
    const size_t n_bytes = sizeof(pfn_cell) * (size_t)(fit->ctx->n_columns + 1);
    uint8_t *kept = number < fit->n_cached ? fit->cache + (size_t)number * n_bytes : NULL;
    const int32_t place = fit->ctx->place[label];
    if (kept != NULL && which > 0) {
        memcpy(fit->work->use.network.cells, kept, n_bytes);
    } else {
        embed_row(fit->ctx, fit->work->row, place, fit->work->use.network.cells);
    }
    show_row(fit->ctx, which, place, kept != NULL ? which - 1 : -1, fit->work);
    if (kept != NULL) {
        memcpy(kept, fit->work->use.network.cells, n_bytes);
    }
}

static int is_aligned(const void *memory) {
    return memory != NULL && (uintptr_t)memory % sizeof(float) == 0;
}

pfn_status pfn_fit_stream(pfn_context *ctx, pfn_row_source next_row, void *user, int32_t n_features, int32_t n_classes,
                          void *cache, int32_t cache_bytes, void *scratch) {
    if (ctx == NULL || next_row == NULL || !is_aligned(scratch) || (cache == NULL && cache_bytes != 0) || cache_bytes < 0) {
        return PFN_ERROR_ARGUMENT;
    }
    memset(ctx, 0, sizeof *ctx);
    if (n_features < 1 || n_features > PFN_MAX_FEATURES) {
        return PFN_ERROR_FEATURES;
    }
    if (n_classes < 1 || n_classes > PFN_MAX_CLASSES) {
        return PFN_ERROR_CLASSES;
    }
    ctx->n_features = n_features;
    ctx->n_classes = n_classes;
    pfn_fitting fit = {ctx, next_row, user, scratch, cache, 0};
    pfn_status status = fit_columns(&fit);
    if (status == PFN_OK && ctx->n_rows == 0) {
        status = PFN_ERROR_ROWS;
    }
    if (status == PFN_OK) {
        status = order_classes(&fit);
    }
    fit.n_cached = cache_bytes / ((int32_t)sizeof(pfn_cell) * (ctx->n_columns + 1));
    for (int32_t l = 0; l < PFN_N_LAYERS && status == PFN_OK && ctx->n_present > 1; l++) {
        status = for_each_row(&fit, show, l);
        if (status == PFN_OK) {
            finish_states(ctx, l);
        }
    }
    ctx->fitted = status == PFN_OK ? PFN_MODEL_ID : 0;
    return status;
}

typedef struct {
    const float *x;
    const int32_t *y;
    int32_t n_rows, n_features;
} pfn_table;

static int32_t row_of_table(void *user, int32_t row, float *x, int32_t *y) {
    const pfn_table *table = user;
    if (row >= table->n_rows) {
        return 0;
    }
    memcpy(x, table->x + (size_t)row * (size_t)table->n_features, sizeof(float) * (size_t)table->n_features);
    *y = table->y[row];
    return 1;
}

pfn_status pfn_fit(pfn_context *ctx, const float *x, const int32_t *y, int32_t n_rows, int32_t n_features, int32_t n_classes,
                   void *scratch) {
    pfn_table table = {x, y, n_rows, n_features};
    if (x == NULL || y == NULL) {
        return PFN_ERROR_ARGUMENT;
    }
    return pfn_fit_stream(ctx, row_of_table, &table, n_features, n_classes, NULL, 0, scratch);
}

pfn_status pfn_predict_logits(const pfn_context *ctx, const float *row, float *logits, void *scratch) {
    float canonical[PFN_MAX_CLASSES] = {0};
    if (ctx == NULL || row == NULL || logits == NULL || !is_aligned(scratch)) {
        return PFN_ERROR_ARGUMENT;
    }
    if (ctx->fitted != PFN_MODEL_ID) {
        return PFN_ERROR_NOT_FITTED;
    }
    if (!row_is_fine(row, ctx->n_features)) {
        return PFN_ERROR_VALUE;
    }
    if (ctx->n_present > 1) {
        ask_row(ctx, row, canonical, scratch);
    }
    for (int32_t c = 0; c < ctx->n_classes; c++) {
        logits[c] = ctx->place[c] < ctx->n_present ? canonical[ctx->place[c]] : -INFINITY;
    }
    return PFN_OK;
}

pfn_status pfn_predict_proba(const pfn_context *ctx, const float *row, float *proba, void *scratch) {
    const pfn_status status = pfn_predict_logits(ctx, row, proba, scratch);
    if (status != PFN_OK) {
        return status;
    }
    float most = -INFINITY, total = 0.0f;
    for (int32_t c = 0; c < ctx->n_classes; c++) {
        most = proba[c] > most ? proba[c] : most;
    }
    for (int32_t c = 0; c < ctx->n_classes; c++) {
        proba[c] = exponential(proba[c] - most);
        total += proba[c];
    }
    for (int32_t c = 0; c < ctx->n_classes; c++) {
        proba[c] /= total;
    }
    return PFN_OK;
}
