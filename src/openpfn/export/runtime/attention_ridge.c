/* Ridge attention between rows: each head fits a ridge regression of values on keys, and a row
 * reads its prediction. */

/* Add one context row to the state: key key' (its lower triangle) and key value'. */
static void attention_add(pfn_state *state, const float *key, const float *value) {
    for (int32_t h = 0; h < PFN_N_HEADS; h++) {
        const float *k = key + h * PFN_D_HEAD, *v = value + h * PFN_D_HEAD;
        float *gram = state->gram[h];
        for (int32_t i = 0; i < PFN_D_HEAD; i++) {
            for (int32_t j = 0; j <= i; j++) {
                *gram++ += k[i] * k[j];
            }
            for (int32_t j = 0; j < PFN_D_HEAD; j++) {
                state->weights[h][i][j] += k[i] * v[j];
            }
        }
    }
}

/* heads (E): what a row with this query (E) reads. */
static void attention_read(const pfn_state *state, float *query, float *heads) {
    for (int32_t h = 0; h < PFN_N_HEADS; h++) {
        for (int32_t j = 0; j < PFN_D_HEAD; j++) {
            float sum = 0.0f;
            for (int32_t i = 0; i < PFN_D_HEAD; i++) {
                sum += query[h * PFN_D_HEAD + i] * state->weights[h][i][j];
            }
            heads[h * PFN_D_HEAD + j] = sum;
        }
    }
}

/* Row i of a lower triangle that is stored row by row. */
static float *triangle_row(float *triangle, int32_t i) {
    return triangle + i * (i + 1) / 2;
}

/* Cholesky's factor of a positive definite matrix, in place; its diagonal holds inverses. */
static void factorise(float *gram) {
    for (int32_t i = 0; i < PFN_D_HEAD; i++) {
        float *row = triangle_row(gram, i);
        for (int32_t j = 0; j <= i; j++) {
            const float *other = triangle_row(gram, j);
            float sum = row[j];
            for (int32_t k = 0; k < j; k++) {
                sum -= row[k] * other[k];
            }
            row[j] = j < i ? sum * other[j] : inverse_root(sum > 1e-30f ? sum : 1e-30f);
        }
    }
}

/* Make the state ready for reading, after the last context row: weights = (KK/n + lambda)^-1 KV/n.
 */
static void attention_finish(pfn_state *state, int32_t n_rows, const pfn_layer *layer) {
    const float share = 1.0f / (float)n_rows;
    for (int32_t h = 0; h < PFN_N_HEADS; h++) {
        float *gram = state->gram[h], trace = 0.0f;
        for (int32_t i = 0; i < PFN_D_HEAD * (PFN_D_HEAD + 1) / 2; i++) {
            gram[i] *= share;
        }
        for (int32_t i = 0; i < PFN_D_HEAD; i++) {
            trace += triangle_row(gram, i)[i];
        }
        for (int32_t i = 0; i < PFN_D_HEAD; i++) {
            triangle_row(gram, i)[i] += layer->ridge[h] + 1e-4f * trace / (float)PFN_D_HEAD;
        }
        factorise(gram);
        for (int32_t j = 0; j < PFN_D_HEAD; j++) {
            for (int32_t i = 0; i < PFN_D_HEAD; i++) { /* forwards */
                const float *row = triangle_row(gram, i);
                float sum = state->weights[h][i][j] * share;
                for (int32_t k = 0; k < i; k++) {
                    sum -= row[k] * state->weights[h][k][j];
                }
                state->weights[h][i][j] = sum * row[i];
            }
            for (int32_t i = PFN_D_HEAD - 1; i >= 0; i--) { /* backwards */
                float sum = state->weights[h][i][j];
                for (int32_t k = i + 1; k < PFN_D_HEAD; k++) {
                    sum -= triangle_row(gram, k)[i] * state->weights[h][k][j];
                }
                state->weights[h][i][j] = sum * triangle_row(gram, i)[i];
            }
        }
    }
}

/* Whether a loaded state can be asked: any floats can. */
static int state_is_valid(const pfn_state *state) {
    (void)state;
    return 1;
}
