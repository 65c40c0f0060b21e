/* Linear attention between rows (Katharopoulos et al. 2020, eq. 6): the context is two sums. */

#ifndef PFN_LEAST_FEATURE /* keep what is read defined where all keys are negative */
#define PFN_LEAST_FEATURE 1e-3f
#define PFN_LEAST_MASS 1e-6f
#endif

/* The positive feature map. */
static float positive(float x) {
#if PFN_FEATURES_RELU
    return (x > 0.0f ? x : 0.0f) + PFN_LEAST_FEATURE;
#else
    return x > 0.0f ? x + 1.0f : exponential(x); /* elu(x) + 1 */
#endif
}

/* Add one context row to the state: its key (E) and value (E). */
static void attention_add(pfn_state *state, const float *key, const float *value) {
    for (int32_t h = 0; h < PFN_N_HEADS; h++) {
        for (int32_t i = 0; i < PFN_D_HEAD; i++) {
            const float k = positive(key[h * PFN_D_HEAD + i]);
            state->key_sum[h][i] += k;
            for (int32_t j = 0; j < PFN_D_HEAD; j++) {
                state->memory[h][i][j] += k * value[h * PFN_D_HEAD + j];
            }
        }
    }
}

/* heads (E): what a row with this query (E) reads; `query` becomes its features. */
static void attention_read(const pfn_state *state, float *query, float *heads) {
    for (int32_t h = 0; h < PFN_N_HEADS; h++) {
        float *q = query + h * PFN_D_HEAD, *out = heads + h * PFN_D_HEAD;
        float mass = PFN_LEAST_MASS;
        for (int32_t i = 0; i < PFN_D_HEAD; i++) {
            q[i] = positive(q[i]);
            mass += q[i] * state->key_sum[h][i];
        }
        const float scale = 1.0f / mass;
        for (int32_t j = 0; j < PFN_D_HEAD; j++) {
            float sum = 0.0f;
            for (int32_t i = 0; i < PFN_D_HEAD; i++) {
                sum += q[i] * state->memory[h][i][j];
            }
            out[j] = sum * scale;
        }
    }
}

/* Make the state ready for reading, after the last context row. */
static void attention_finish(pfn_state *state, int32_t n_rows, const pfn_layer *layer) {
    (void)state, (void)n_rows, (void)layer; /* sums are read as they are */
}

/* Whether a loaded state can be asked: any floats can. */
static int state_is_valid(const pfn_state *state) {
    (void)state;
    return 1;
}
