/* The network on one row of the table: embed it, let its columns attend, let it read the context rows, an MLP, the logits.
 * The arithmetic, in floats or in integers, stands in numbers_*.c, weights_*.c and attention_*.c. */

enum { QUERY_ROW = -1 };                                            /* in place of a context row's class */

/* The value of a column in units of its deviation; NaN where it is missing. */
static float standardised(const pfn_context *ctx, const float *row, int32_t column) {
    const float x = ctx->feature[column] == NO_FEATURE ? 0.0f : row[ctx->feature[column]];
    return ((x - ctx->origin[column]) - ctx->mean[column]) * ctx->inverse_std[column];
}

/* cell += a value's embedding: a piecewise linear curve over knots in (-2, 2), the range of the squashed value. */
static void embed_value(float z, pfn_sum *cell) {
#if PFN_MISSING_FLAG
    if (z != z) {
        ADD_ROW(pfn_weights.values, MISSING, ONE, cell);
        return;
    }
#endif
    int32_t knot;
    const pfn_factor share = next_share(z > -100.0f ? (z < 100.0f ? z : 100.0f) : (z == z ? -100.0f : 0.0f), &knot);
    ADD_ROW(pfn_weights.values, knot, ONE - share, cell);
    ADD_ROW(pfn_weights.values, knot + 1, share, cell);
}

/* cell += the embedding of a context row's class, or of the unknown class of a query row after so many context rows. */
static void embed_target(const pfn_targets *table, int32_t place, int32_t n_rows, pfn_sum *cell) {
    if (place != QUERY_ROW) {
        ADD_ROW(*table, place, ONE, cell);
        return;
    }
    ADD_ROW(*table, UNKNOWN, ONE, cell);
    ADD_ROW(*table, EVIDENCE, evidence(n_rows), cell);
}

/* The cells (D + 1, E) of a row of values; `place` is its class, or QUERY_ROW. */
static void embed_row(const pfn_context *ctx, const float *row, int32_t place, pfn_cell *cells) {
    pfn_sum *target = cells[ctx->n_columns];
    memset(cells, 0, sizeof(pfn_cell) * (size_t)(ctx->n_columns + 1));
#if PFN_TARGET_AWARE
    embed_target(&pfn_weights.hints, place, ctx->n_rows, target);    /* the same for every column */
    for (int32_t c = 0; c < ctx->n_columns; c++) {
        memcpy(cells[c], target, sizeof(pfn_cell));
    }
    memset(target, 0, sizeof(pfn_cell));
#endif
    for (int32_t c = 0; c < ctx->n_columns; c++) {
        embed_value(standardised(ctx, row, c), cells[c]);
    }
    embed_target(&pfn_weights.targets, place, ctx->n_rows, target);
}

/* Softmax attention between the columns of a row. Columns `first` ... D ask, all are read. */
static void attend_columns(const pfn_layer *layer, int32_t n_columns, int32_t first, pfn_workspace *work) {
    pfn_number (*key_value)[2 * PFN_D_MODEL] = work->use.network.key_value, normed[PFN_D_MODEL];
    for (int32_t c = 0; c <= n_columns; c++) {
        normalise(work->use.network.cells[c], normed);
        memset(key_value[c], 0, sizeof key_value[c]);
        ADD_PRODUCT(layer->column_key_value, normed, key_value[c]);
    }
    for (int32_t asking = first; asking <= n_columns; asking++) {
        pfn_number query[PFN_D_MODEL] = {0}, heads[PFN_D_MODEL];
        normalise(work->use.network.cells[asking], normed);
        ADD_PRODUCT(layer->column_query, normed, query);
        for (int32_t h = 0; h < PFN_D_MODEL; h += PFN_D_HEAD) {
            attend(query + h, &key_value[0][h], n_columns + 1, work->use.network.scores, heads + h);
        }
        ADD_TO_CELL(layer->column_out, heads, work->use.network.cells[asking]);
    }
}

/* A row's cell enters the state of its column. */
static void show_cell(const pfn_layer *layer, const pfn_sum *cell, pfn_state *state) {
    pfn_number normed[PFN_D_MODEL], key_value[2 * PFN_D_MODEL] = {0};
    normalise(cell, normed);
    ADD_PRODUCT(layer->row_key_value, normed, key_value);
    attention_add(state, key_value, key_value + PFN_D_MODEL);
}

/* The inner half of an MLP. */
static void hide(const pfn_hidden *layer, const pfn_sum *cell, pfn_number *hidden) {    /* (E) -> (M) */
    pfn_number normed[PFN_D_MODEL];
    normalise(cell, normed);
    memcpy(hidden, layer->bias, sizeof layer->bias);
    ADD_PRODUCT(layer->weight, normed, hidden);
    for (int32_t i = 0; i < PFN_D_MLP; i++) {
        hidden[i] = gelu(hidden[i]);
    }
}

/* A cell reads the context rows of its column, then the MLP. */
static void finish_cell(int32_t layer_index, int32_t place, const pfn_state *state, pfn_sum *cell) {
    const pfn_layer *layer = &pfn_weights.layers[layer_index];
    pfn_number normed[PFN_D_MODEL], query[PFN_D_MODEL] = {0}, heads[PFN_D_MODEL], hidden[PFN_D_MLP];
    normalise(cell, normed);
#if PFN_SEPARATE_QUERY_WEIGHTS
    if (place == QUERY_ROW && layer_index < PFN_N_LAYERS - 1) {
        ADD_PRODUCT(pfn_weights.reading[layer_index].query, normed, query);
        attention_read(state, query, heads);
        ADD_TO_CELL(pfn_weights.reading[layer_index].out, heads, cell);
    } else
#endif
    {
        (void)place;
        ADD_PRODUCT(layer->row_query, normed, query);
        attention_read(state, query, heads);
        ADD_TO_CELL(layer->row_out, heads, cell);
    }
    hide(&layer->hidden, cell, hidden);
    for (int32_t i = 0; i < PFN_D_MODEL; i++) {
        cell[i] += layer->out_bias[i];
    }
    ADD_TO_CELL(layer->out, hidden, cell);
}

/* All cells of a row through what follows the attention between columns. */
static void finish_row(const pfn_context *ctx, int32_t layer_index, int32_t place, pfn_workspace *work) {
    for (int32_t c = 0; c <= ctx->n_columns; c++) {
        finish_cell(layer_index, place, &ctx->states[layer_index * (ctx->n_columns + 1) + c], work->use.network.cells[c]);
    }
}

/* A row enters the states of layer `layer_index`. Its cells stand where layer `done` (-1: the embedding) has left them. */
static void show_row(pfn_context *ctx, int32_t layer_index, int32_t place, int32_t done, pfn_workspace *work) {
    const int32_t last = PFN_N_LAYERS - 1, n_columns = ctx->n_columns;
    for (int32_t l = done; l < layer_index; l++) {
        if (l >= 0) {
            finish_row(ctx, l, place, work);
        }
        attend_columns(&pfn_weights.layers[l + 1], n_columns, l + 1 == last ? n_columns : 0, work);
    }
    pfn_state *states = &ctx->states[layer_index * (n_columns + 1)];
    for (int32_t c = layer_index == last ? n_columns : 0; c <= n_columns; c++) {
        show_cell(&pfn_weights.layers[layer_index], work->use.network.cells[c], layer_index == last ? states : states + c);
    }
}

/* The states of a layer are complete. */
static void finish_states(pfn_context *ctx, int32_t layer_index) {
    const int32_t n_states = layer_index == PFN_N_LAYERS - 1 ? 1 : ctx->n_columns + 1;
    for (int32_t i = 0; i < n_states; i++) {
        attention_finish(&ctx->states[layer_index * (ctx->n_columns + 1) + i], ctx->n_rows, &pfn_weights.layers[layer_index]);
    }
}

/* Logits (PFN_MAX_CLASSES) of a query row, by canonical place. */
static void ask_row(const pfn_context *ctx, const float *row, float *logits, pfn_workspace *work) {
    const int32_t last = PFN_N_LAYERS - 1;
    pfn_sum *target = work->use.network.cells[ctx->n_columns], sums[PFN_MAX_CLASSES];
    pfn_number hidden[PFN_D_MLP];
    embed_row(ctx, row, QUERY_ROW, work->use.network.cells);
    for (int32_t l = 0; l < last; l++) {
        attend_columns(&pfn_weights.layers[l], ctx->n_columns, 0, work);
        finish_row(ctx, l, QUERY_ROW, work);
    }
    attend_columns(&pfn_weights.layers[last], ctx->n_columns, ctx->n_columns, work);
    finish_cell(last, QUERY_ROW, &ctx->states[last * (ctx->n_columns + 1)], target);
    hide(&pfn_weights.head_hidden, target, hidden);
    memcpy(sums, pfn_weights.head_out_bias, sizeof sums);
    ADD_TO_CELL(pfn_weights.head_out, hidden, sums);
    for (int32_t c = 0; c < PFN_MAX_CLASSES; c++) {
        logits[c] = AS_FLOAT(sums[c]);
    }
}
