/* The layers of the two-way table network: the columns of a row attend to each other, each cell
 * reads the context rows of its column and passes an MLP. */

enum { QUERY_ROW = UNKNOWN }; /* in place of a context row's class */

/* cell += a value's embedding: a piecewise linear curve over knots. */
static void embed_value(float z, pfn_sum *cell) {
    if (z != z) {
#if PFN_MISSING_FLAG
        add_row(MATRIX(pfn_weights.values), MISSING, ONE, cell);
        return;
#else
        z = 0.0f;
#endif
    }
    int32_t knot;
    const pfn_factor share = next_share(z, &knot);
    add_row(MATRIX(pfn_weights.values), knot, ONE - share, cell);
    add_row(MATRIX(pfn_weights.values), knot + 1, share, cell);
}

/* cell += the embedding of a context row's class; for a query row, those of the unknown class and
 * of the evidence in n_rows context rows. */
static void embed_target(const pfn_targets *table, int32_t place, int32_t n_rows, pfn_sum *cell) {
    add_row(MATRIX(*table), place, ONE, cell);
    if (place == QUERY_ROW) {
        add_row(MATRIX(*table), EVIDENCE, evidence(n_rows), cell);
    }
}

/* The cells (D + 1, E) of a row of values; `place` is its class, or QUERY_ROW. */
static void embed_row(const pfn_context *ctx, const float *row, int32_t place, pfn_cell *cells) {
    pfn_cell start = {0}; /* the same for every column */
#if PFN_TARGET_AWARE
    embed_target(&pfn_weights.hints, place, ctx->n_rows, start);
#endif
    for (int32_t c = 0; c < ctx->n_columns; c++) {
        memcpy(cells[c], start, sizeof start);
        embed_value(standardised(ctx, row, c), cells[c]);
    }
    memset(cells[ctx->n_columns], 0, sizeof(pfn_cell));
    embed_target(&pfn_weights.targets, place, ctx->n_rows, cells[ctx->n_columns]);
}

/* out (n_out) = base (NULL for none) + matrix (n_out, E) normalised cell (E) */
static void project(MATRIX_PARAMETERS, const pfn_sum *cell, const pfn_number *base,
                    pfn_number *out) {
    pfn_number normed[PFN_D_MODEL];
    normalise(cell, normed);
    product(MATRIX_ARGUMENTS, PFN_D_MODEL, normed, base, out);
}

/* Softmax attention between the columns of a row. Columns `first` ... D ask, all are read. */
static void attend_columns(const pfn_layer *layer, int32_t n_columns, int32_t first,
                           pfn_workspace *work) {
    pfn_number(*key_value)[2 * PFN_D_MODEL] = work->use.network.key_value;
    for (int32_t c = 0; c <= n_columns; c++) {
        project(MATRIX(layer->column_key_value), work->use.network.cells[c], NULL, key_value[c]);
    }
    for (int32_t asking = first; asking <= n_columns; asking++) {
        pfn_number query[PFN_D_MODEL], heads[PFN_D_MODEL];
        project(MATRIX(layer->column_query), work->use.network.cells[asking], NULL, query);
        for (int32_t h = 0; h < PFN_D_MODEL; h += PFN_D_HEAD) {
            attend(query + h, &key_value[0][h], n_columns + 1, work->use.network.scores, heads + h);
        }
        add_to_cell(MATRIX(layer->column_out), PFN_D_MODEL, heads, work->use.network.cells[asking]);
    }
}

/* Add a context row's cell to the state of its column. */
static void show_cell(const pfn_layer *layer, const pfn_sum *cell, pfn_state *state) {
    pfn_number key_value[2 * PFN_D_MODEL];
    project(MATRIX(layer->row_key_value), cell, NULL, key_value);
    attention_add(state, key_value, key_value + PFN_D_MODEL);
}

/* The inner half of an MLP: cell (E) to hidden (M). */
static void hide(const pfn_hidden *layer, const pfn_sum *cell, pfn_number *hidden) {
    project(MATRIX(layer->weight), cell, layer->bias, hidden);
    for (int32_t i = 0; i < PFN_D_MLP; i++) {
        hidden[i] = gelu(hidden[i]);
    }
}

/* Let a cell read the context rows of its column, then pass it through the MLP. */
static void finish_cell(int32_t layer_index, int32_t place, const pfn_state *state, pfn_sum *cell) {
    const pfn_layer *layer = LAYER(layer_index);
    pfn_number query[PFN_D_MODEL], heads[PFN_D_MODEL], hidden[PFN_D_MLP];
#if PFN_SEPARATE_QUERY_WEIGHTS
    if (place == QUERY_ROW && layer_index < PFN_N_PASSES - 1) {
        const pfn_reading *reading = &pfn_weights.reading[layer_index];
        project(MATRIX(reading->query), cell, NULL, query);
        attention_read(state, query, heads);
        add_to_cell(MATRIX(reading->out), PFN_D_MODEL, heads, cell);
    } else
#endif
    {
        (void)place;
        project(MATRIX(layer->row_query), cell, NULL, query);
        attention_read(state, query, heads);
        add_to_cell(MATRIX(layer->row_out), PFN_D_MODEL, heads, cell);
    }
    hide(&layer->hidden, cell, hidden);
    for (int32_t i = 0; i < PFN_D_MODEL; i++) {
        cell[i] += layer->out_bias[i];
    }
    add_to_cell(MATRIX(layer->out), PFN_D_MLP, hidden, cell);
}
