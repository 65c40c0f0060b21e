/* Fit and predict: passes over the context rows, and the order of columns and classes. */

typedef struct pfn_fitting {
    pfn_context *ctx;
    pfn_row_source next_row;
    void *user;
    pfn_workspace *work;
    uint8_t *cache; /* cells of the first rows, as the latest layer left them */
    int32_t n_cached, layer;
} pfn_fitting;

/* A function that a pass calls for each context row; the workspace holds row `number`. */
typedef void (*pfn_step)(const pfn_fitting *fit, int32_t number, int32_t label);

/* Whether every value is missing or so small that sums over rows stay finite. */
static int row_is_valid(const float *row, int32_t n_features) {
    for (int32_t j = 0; j < n_features; j++) {
        if (row[j] == row[j] && !(magnitude(row[j]) <= LARGEST_VALUE)) {
            return 0;
        }
    }
    return 1;
}

/* Call `step` for every context row, each of them checked. The first pass counts the rows; later
 * ones must find as many. */
static pfn_status for_each_row(const pfn_fitting *fit, pfn_step step) {
    pfn_context *ctx = fit->ctx;
    int32_t number = 0, label = 0, got;
    while ((got = fit->next_row(fit->user, number, fit->work->row, &label)) == 1) {
        if (label < 0 || label >= ctx->n_classes) {
            return PFN_ERROR_LABEL;
        }
        if (!row_is_valid(fit->work->row, ctx->n_features)) {
            return PFN_ERROR_VALUE;
        }
        if (number == INT32_MAX - 1) {
            return PFN_ERROR_SOURCE;
        }
        step(fit, number, label);
        number++;
    }
    if (ctx->n_rows == 0) {
        ctx->n_rows = number;
    }
    return got == 0 && ctx->n_rows == number ? PFN_OK : PFN_ERROR_SOURCE;
}

/* total += x unless x is missing (Neumaier 1974). */
static void add_exactly(float x, pfn_total *total) {
    if (x == x) {
        const float old = total->sum, sum = old + x;
        total->rest += magnitude(old) >= magnitude(x) ? (old - sum) + x : (x - sum) + old;
        total->sum = sum;
        total->n++;
    }
}

/* First pass: the mean, the largest difference and the number of each feature's values; the same
 * sums within each class where they order the classes, and its rows. */
static void count_row(const pfn_fitting *fit, int32_t number, int32_t label) {
    pfn_context *ctx = fit->ctx;
    (void)number;
    fit->work->use.counts.class_rows[label]++;
    for (int32_t j = 0; j < ctx->n_features; j++) {
        const float x = fit->work->row[j];
        pfn_total *column = &fit->work->use.counts.columns[j];
        if (column->n == 0) {
            ctx->origin[j] = x;
        }
        const float difference = x - ctx->origin[j];
        if (magnitude(difference) > ctx->inverse_std[j]) {
            ctx->inverse_std[j] = magnitude(difference); /* the largest so far */
        }
        add_exactly(difference, column);
#ifndef PFN_CLASSES_ARE_NUMBERS
        add_exactly(x, &fit->work->use.counts.of_class[label][j]);
#endif
    }
}

/* Second pass: sums of squared deviations, as shares of the largest difference. */
static void add_deviations(const pfn_fitting *fit, int32_t number, int32_t label) {
    (void)number, (void)label;
    for (int32_t c = 0; c < fit->ctx->n_columns; c++) {
        const float deviation = standardised(fit->ctx, fit->work->row, c);
        add_exactly(times(deviation, deviation), &fit->work->use.counts.columns[c]);
    }
}

/* Choose the features that vary (a missing value is a value), and fit their mean and deviation. */
static pfn_status fit_columns(const pfn_fitting *fit) {
    pfn_context *ctx = fit->ctx;
    pfn_total *columns = fit->work->use.counts.columns;
    /* column c <= feature j: those that vary move forward within the arrays */
    for (int32_t j = 0; j < ctx->n_features; j++) {
        const float largest = ctx->inverse_std[j];
        const int32_t n = columns[j].n, c = ctx->n_columns;
        if (largest > 0.0f && largest < SMALLEST_DIFFERENCE) {
            return PFN_ERROR_VALUE;
        }
        if (largest > 0.0f || (n > 0 && n < ctx->n_rows)) {
            ctx->feature[c] = (uint8_t)j;
            ctx->origin[c] = ctx->origin[j];
            ctx->mean[c] = (columns[j].sum + columns[j].rest) / (float)n;
            ctx->inverse_std[c] = largest > 0.0f ? 1.0f / largest : 0.0f;
            ctx->n_columns++;
        }
    }
    /* what was counted of features that do not vary, NaN where one has no value */
    for (int32_t c = ctx->n_columns; c < ctx->n_features; c++) {
        ctx->origin[c] = ctx->inverse_std[c] = 0.0f;
    }
    if (ctx->n_columns == 0) { /* nothing varies: one column of zeros */
        ctx->feature[0] = NO_FEATURE;
        ctx->n_columns = 1;
    }
    memset(columns, 0, sizeof fit->work->use.counts.columns);
    const pfn_status status = for_each_row(fit, add_deviations);
    for (int32_t c = 0; c < ctx->n_columns; c++) {
        const float squares = columns[c].sum + columns[c].rest;
        const float variance = squares > 0.0f ? squares / (float)(columns[c].n - 1) : 0.0f;
        ctx->inverse_std[c] *= variance > 0.0f ? inverse_root(variance) : 0.0f;
    }
    return status;
}

#ifdef PFN_CLASSES_ARE_NUMBERS
/* Whether class a comes before class b. Classes with context rows keep the order of their labels:
 * to the network, class 1 lies between 0 and 2. */
static int comes_before(const pfn_fitting *fit, int32_t a, int32_t b) {
    const int32_t *rows = fit->work->use.counts.class_rows;
    return (rows[a] > 0) != (rows[b] > 0) ? rows[a] > 0 : a < b;
}
#else
/* Whether class a has the smaller mean of a feature; a class without values comes last. */
static int has_smaller_mean(const pfn_total *a, const pfn_total *b) {
    if (a->n == 0 || b->n == 0) {
        return a->n > b->n;
    }
    if (a->n == b->n) {
        return (a->sum - b->sum) + (a->rest - b->rest) < 0.0f;
    }
    return (a->sum + a->rest) / (float)a->n < (b->sum + b->rest) / (float)b->n;
}

/* Whether class a comes before class b. Frequent classes come first, among equally frequent ones
 * those with the smaller mean of the first feature whose means differ, then those with the smaller
 * label: so the names of the classes do not matter. */
static int comes_before(const pfn_fitting *fit, int32_t a, int32_t b) {
    const int32_t *rows = fit->work->use.counts.class_rows;
    if (rows[a] != rows[b]) {
        return rows[a] > rows[b];
    }
    for (int32_t j = 0; j < fit->ctx->n_features; j++) {
        const pfn_total *of_a = &fit->work->use.counts.of_class[a][j];
        const pfn_total *of_b = &fit->work->use.counts.of_class[b][j];
        if (has_smaller_mean(of_a, of_b)) {
            return 1;
        }
        if (has_smaller_mean(of_b, of_a)) {
            return 0;
        }
    }
    return a < b;
}
#endif

/* Give each class its place, and count those that have context rows. */
static void order_classes(const pfn_fitting *fit) {
    pfn_context *ctx = fit->ctx;
    for (int32_t c = 0; c < ctx->n_classes; c++) {
        ctx->n_present += fit->work->use.counts.class_rows[c] > 0;
        for (int32_t d = 0; d < ctx->n_classes; d++) {
            ctx->place[c] = (uint8_t)(ctx->place[c] + comes_before(fit, d, c));
        }
#ifdef PFN_CLASSES_ARE_NUMBERS
        const float share = (float)fit->work->use.counts.class_rows[c] / (float)ctx->n_rows;
        ctx->mean_place += share * (float)ctx->place[c];
#endif
    }
}

/* Further passes: add a context row to the states of a layer. */
static void show(const pfn_fitting *fit, int32_t number, int32_t label) {
    const int32_t layer = PFN_N_PASSES > 1 ? fit->layer : 0, place = fit->ctx->place[label];
    const size_t n_bytes = sizeof(pfn_cell) * (size_t)(fit->ctx->n_columns + 1);
    const int is_kept = PFN_N_PASSES > 1 && number < fit->n_cached;
    uint8_t *kept = is_kept ? fit->cache + (size_t)number * n_bytes : NULL;
    if (kept != NULL && layer > 0) {
        memcpy(fit->work->use.network.cells, kept, n_bytes);
    } else {
        embed_row(fit->ctx, fit->work->row, place, fit->work->use.network.cells);
    }
    show_row(fit->ctx, layer, place, kept != NULL ? layer - 1 : -1, fit->work);
    if (kept != NULL) {
        memcpy(kept, fit->work->use.network.cells, n_bytes);
    }
}

/* How a float lies in memory: at any address on cores of 8 bits. */
typedef struct {
    uint8_t before;
    float number;
} pfn_alignment;

static int is_aligned(const void *memory) {
    return memory != NULL && (uintptr_t)memory % offsetof(pfn_alignment, number) == 0;
}

pfn_status pfn_fit_stream(pfn_context *ctx, pfn_row_source next_row, void *user, int32_t n_features,
                          int32_t n_classes, void *cache, int32_t cache_bytes, void *scratch) {
    if (ctx == NULL || next_row == NULL || !is_aligned(scratch)
        || (cache == NULL && cache_bytes != 0) || cache_bytes < 0) {
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
    pfn_fitting fit = {ctx, next_row, user, scratch, cache, 0, 0};
    memset(&fit.work->use.counts, 0, sizeof fit.work->use.counts);
    pfn_status status = for_each_row(&fit, count_row);
    if (status == PFN_OK && ctx->n_rows == 0) {
        status = PFN_ERROR_ROWS;
    }
    if (status == PFN_OK) {
        order_classes(&fit);
        status = fit_columns(&fit);
    }
    fit.n_cached = cache_bytes / ((int32_t)sizeof(pfn_cell) * (ctx->n_columns + 1));
    for (; fit.layer < PFN_N_PASSES && status == PFN_OK && ctx->n_present > 1; fit.layer++) {
        status = for_each_row(&fit, show);
        if (status == PFN_OK) {
            finish_states(ctx, fit.layer);
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
    memcpy(x, table->x + (size_t)row * (size_t)table->n_features,
           sizeof(float) * (size_t)table->n_features);
    *y = table->y[row];
    return 1;
}

pfn_status pfn_fit(pfn_context *ctx, const float *x, const int32_t *y, int32_t n_rows,
                   int32_t n_features, int32_t n_classes, void *scratch) {
    pfn_table table = {x, y, n_rows, n_features};
    if (x == NULL || y == NULL) {
        return PFN_ERROR_ARGUMENT;
    }
    return pfn_fit_stream(ctx, row_of_table, &table, n_features, n_classes, NULL, 0, scratch);
}

pfn_status pfn_predict_logits(const pfn_context *ctx, const float *row, float *logits,
                              void *scratch) {
    pfn_sum canonical[PFN_MAX_CLASSES] = {0};
    if (ctx == NULL || row == NULL || logits == NULL || !is_aligned(scratch)) {
        return PFN_ERROR_ARGUMENT;
    }
    if (ctx->fitted != PFN_MODEL_ID) {
        return PFN_ERROR_NOT_FITTED;
    }
    if (!row_is_valid(row, ctx->n_features)) {
        return PFN_ERROR_VALUE;
    }
    if (ctx->n_present > 1) {
        ask_row(ctx, row, canonical, scratch);
    }
    for (int32_t c = 0; c < ctx->n_classes; c++) {
        const int32_t place = ctx->place[c];
        logits[c] = place < ctx->n_present ? AS_FLOAT(canonical[place]) : -(float)INFINITY;
    }
    return PFN_OK;
}

pfn_status pfn_predict_proba(const pfn_context *ctx, const float *row, float *proba,
                             void *scratch) {
    const pfn_status status = pfn_predict_logits(ctx, row, proba, scratch);
    if (status != PFN_OK) {
        return status;
    }
    float most = -(float)INFINITY, total = 0.0f;
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
