/* The layers of the networks published as TinyPFN: linear attention between the columns of a row,
 * linear attention between rows, an MLP; each is added to the cells, and the sum normalised. */

enum { QUERY_ROW = PFN_MAX_CLASSES }; /* in place of a context row's class */

/* cell (E) = LayerNorm(cell + added), Ba et al. 2016. */
static void normalise(const pfn_norm *norm, const float *added, float *cell) {
    float mean = 0.0f, square = 0.0f;
    for (int32_t i = 0; i < PFN_D_MODEL; i++) {
        cell[i] += added[i];
        mean += cell[i];
    }
    mean *= 1.0f / PFN_D_MODEL;
    for (int32_t i = 0; i < PFN_D_MODEL; i++) {
        cell[i] -= mean;
        square += cell[i] * cell[i];
    }
    const float inverse_std = inverse_root(square * (1.0f / PFN_D_MODEL) + 1e-5f);
    for (int32_t i = 0; i < PFN_D_MODEL; i++) {
        cell[i] = cell[i] * inverse_std * norm->scale[i] + norm->shift[i];
    }
}

/* cell (E) = the place of a number on a line. */
static void embed_number(const pfn_line *line, float number, float *cell) {
    memcpy(cell, line->start, sizeof(pfn_cell));
    add_row(MATRIX(line->slope), 0, number, cell);
}

/* A value in units of its column's deviation, at most 100 of them; 0 where it is missing. */
static float clipped(float z) {
    if (z != z) {
        return 0.0f;
    }
    return z < 0.0f ? -at_most_100(-z) : at_most_100(z);
}

/* The cells (D + 1, E) of a row of values; `place` is its class, or QUERY_ROW, whose target is the
 * mean of the context's. */
static void embed_row(const pfn_context *ctx, const float *row, int32_t place, pfn_cell *cells) {
    for (int32_t c = 0; c < ctx->n_columns; c++) {
        embed_number(&pfn_weights.values, clipped(standardised(ctx, row, c)), cells[c]);
    }
    embed_number(&pfn_weights.targets, place == QUERY_ROW ? ctx->mean_place : (float)place,
                 cells[ctx->n_columns]);
}

/* Add a cell to what others read of it. */
static void show_to(const pfn_attention *attention, const float *cell, pfn_state *state) {
    float key_value[2 * PFN_D_MODEL];
    product(MATRIX(attention->key_value), PFN_D_MODEL, cell, attention->key_value_bias, key_value);
    attention_add(state, key_value, key_value + PFN_D_MODEL);
}

/* Let a cell read what was shown. */
static void read_from(const pfn_attention *attention, const pfn_state *state, float *cell) {
    float query[PFN_D_MODEL], heads[PFN_D_MODEL];
    product(MATRIX(attention->query), PFN_D_MODEL, cell, attention->query_bias, query);
    attention_read(state, query, heads);
    add_to_cell(MATRIX(attention->out), PFN_D_MODEL, heads, cell);
    normalise(&attention->norm, attention->out_bias, cell);
}

/* Attention between the columns of a row. Columns `first` ... D ask, all are read. */
static void attend_columns(const pfn_layer *layer, int32_t n_columns, int32_t first,
                           pfn_workspace *work) {
    pfn_state *columns = &work->use.network.columns;
    memset(columns, 0, sizeof *columns);
    for (int32_t c = 0; c <= n_columns; c++) {
        show_to(&layer->columns, work->use.network.cells[c], columns);
    }
    for (int32_t asking = first; asking <= n_columns; asking++) {
        read_from(&layer->columns, columns, work->use.network.cells[asking]);
    }
}

/* Add a context row's cell to the state of its column. */
static void show_cell(const pfn_layer *layer, const float *cell, pfn_state *state) {
    show_to(&layer->rows, cell, state);
}

/* The inner half of an MLP: cell (E) to hidden (M). */
static void hide(const pfn_hidden *layer, const float *cell, float *hidden) {
    product(MATRIX(layer->weight), PFN_D_MODEL, cell, layer->bias, hidden);
    for (int32_t i = 0; i < PFN_D_MLP; i++) {
        hidden[i] = gelu(hidden[i]);
    }
}

/* Let a cell read the context rows of its column, then pass it through the MLP. */
static void finish_cell(int32_t layer_index, int32_t place, const pfn_state *state, float *cell) {
    const pfn_layer *layer = LAYER(layer_index);
    float hidden[PFN_D_MLP];
    (void)place; /* query rows read as context rows do */
    read_from(&layer->rows, state, cell);
    hide(&layer->hidden, cell, hidden);
    add_to_cell(MATRIX(layer->out), PFN_D_MLP, hidden, cell);
    normalise(&layer->norm, layer->out_bias, cell);
}
