/* The network on one row of the table: it is embedded, passes the layers, and the cell of its
 * target gives the logits. The layers of each kind of network stand in *_layers.c; the arithmetic,
 * in floats or in integers, in numbers_*.c, weights_*.c and attention_*.c. */

/* Apply what follows the attention between columns to all cells of a row. */
static void finish_row(const pfn_context *ctx, int32_t layer_index, int32_t place,
                       pfn_workspace *work) {
    for (int32_t c = 0; c <= ctx->n_columns; c++) {
        finish_cell(layer_index, place, &ctx->states[layer_index * (ctx->n_columns + 1) + c],
                    work->use.network.cells[c]);
    }
}

/* Add a context row to the states of layer `layer_index`. Its cells are those that layer `done`
 * (-1: the embedding) has given. */
static void show_row(pfn_context *ctx, int32_t layer_index, int32_t place, int32_t done,
                     pfn_workspace *work) {
    const int32_t last = PFN_N_PASSES - 1, n_columns = ctx->n_columns;
    for (int32_t l = done; l < layer_index; l++) {
        if (l >= 0) {
            finish_row(ctx, l, place, work);
        }
        attend_columns(LAYER(l + 1), n_columns, l + 1 == last ? n_columns : 0, work);
    }
    pfn_state *states = &ctx->states[layer_index * (n_columns + 1)];
    for (int32_t c = layer_index == last ? n_columns : 0; c <= n_columns; c++) {
        show_cell(LAYER(layer_index), work->use.network.cells[c],
                  layer_index == last ? states : states + c);
    }
}

/* Make the states of a layer ready for reading, after the last context row. */
static void finish_states(pfn_context *ctx, int32_t layer_index) {
    const int32_t n_states = layer_index == PFN_N_PASSES - 1 ? 1 : ctx->n_columns + 1;
    for (int32_t i = 0; i < n_states; i++) {
        attention_finish(&ctx->states[layer_index * (ctx->n_columns + 1) + i], ctx->n_rows,
                         LAYER(layer_index));
    }
}

/* logits (PFN_MAX_CLASSES) of a query row, by the classes' places. */
static void ask_row(const pfn_context *ctx, const float *row, pfn_sum *logits,
                    pfn_workspace *work) {
    const int32_t last = PFN_N_PASSES - 1;
    pfn_sum *target = work->use.network.cells[ctx->n_columns];
    pfn_number hidden[PFN_D_MLP];
    embed_row(ctx, row, QUERY_ROW, work->use.network.cells);
    for (int32_t l = 0; l < last; l++) {
        attend_columns(LAYER(l), ctx->n_columns, 0, work);
        finish_row(ctx, l, QUERY_ROW, work);
    }
    attend_columns(LAYER(last), ctx->n_columns, ctx->n_columns, work);
    finish_cell(last, QUERY_ROW, &ctx->states[last * (ctx->n_columns + 1)], target);
    hide(&pfn_weights.head_hidden, target, hidden);
    memcpy(logits, pfn_weights.head_out_bias, sizeof(pfn_sum) * PFN_MAX_CLASSES);
    add_to_cell(MATRIX(pfn_weights.head_out), PFN_D_MLP, hidden, logits);
}
