/* Linear attention between rows (Katharopoulos et al. 2020, eq. 6) in integers: the context is two
 * sums, which cannot overflow. */

#define FEATURE_ONE (UINT32_C(1) << 20)
enum { STATE_BITS = 14, SHORTEST = PFN_LONGEST_FEATURE - STATE_BITS };

/* The positive feature map. */
static uint32_t positive(int32_t x, int32_t bits) {
#if PFN_FEATURES_RELU
    return ((uint32_t)(x > 0 ? x : 0) << (20 - bits)) + 1049; /* max(x, 0) + 0.001 */
#else
    if (x > 0) {
        return ((uint32_t)x << (20 - bits)) + FEATURE_ONE; /* elu(x) + 1 */
    }
    return (uint32_t)two_to_minus((uint32_t)(-x * 23637) >> (bits + 1)); /* e^x = 2^(x log2(e)) */
#endif
}

/* Write a feature's sums with n bits less. */
static void shorten(pfn_state *state, int32_t h, int32_t i, int32_t n) {
    state->key_sum[h][i] = shifted_right(state->key_sum[h][i], n);
    for (int32_t j = 0; j < PFN_D_HEAD; j++) {
        state->memory[h][i][j] = shifted_right(state->memory[h][i][j], n);
    }
    uint8_t *exponent = &state->exponent[h * PFN_D_HEAD + i];
    *exponent = (uint8_t)(*exponent + n);
}

/* Add one context row to the state: its key (E) and value (E). */
static void attention_add(pfn_state *state, const int16_t *key, const int16_t *value) {
    for (int32_t h = 0; h < PFN_N_HEADS; h++) {
        for (int32_t i = 0; i < PFN_D_HEAD; i++) {
            const uint32_t feature = positive(key[h * PFN_D_HEAD + i], PFN_KEY_BITS);
            const int32_t spare = excess(feature, STATE_BITS);
            const int32_t k = (int32_t)(feature >> spare);
            const int32_t wanted = SHORTEST + state->exponent[h * PFN_D_HEAD + i] - spare;
            const int32_t shift = wanted < 30 ? wanted : 30;
            state->key_sum[h][i] += shifted_right(k << 15, shift); /* at most 2^29 */
            for (int32_t j = 0; j < PFN_D_HEAD; j++) {
                state->memory[h][i][j] += shifted_right(k * value[h * PFN_D_HEAD + j], shift);
            }
            if (state->key_sum[h][i] >= INT32_C(1) << 30) {
                shorten(state, h, i, 1);
            }
        }
    }
}

/* heads (E): what a row with this query (E) reads. */
static void attention_read(const pfn_state *state, const int16_t *query, int16_t *heads) {
    for (int32_t h = 0; h < PFN_N_HEADS; h++) {
        const uint8_t *exponent = state->exponent + h * PFN_D_HEAD;
        uint32_t features[PFN_D_HEAD], any = 0;
        int32_t mass = 1, sums[PFN_D_HEAD] = {0};
        for (int32_t i = 0; i < PFN_D_HEAD; i++) {
            const uint32_t feature = positive(query[h * PFN_D_HEAD + i], PFN_QUERY_BITS);
            features[i] = feature >> exponent[i];
            any |= features[i];
        }
        const int32_t longer = excess(any, PFN_FEATURE_BITS);
        for (int32_t i = 0; i < PFN_D_HEAD; i++) {
            const int32_t q = (int32_t)(features[i] >> longer);
            mass += q * state->key_sum[h][i]; /* at most 2^30 */
            for (int32_t j = 0; j < PFN_D_HEAD; j++) {
                sums[j] += q * state->memory[h][i][j];
            }
        }
        const int32_t shift = excess((uint32_t)mass, 15);
        const int32_t reciprocal = (INT32_C(1) << 29) / (mass >> shift);
        for (int32_t j = 0; j < PFN_D_HEAD; j++) {
            heads[h * PFN_D_HEAD + j] = clipped(shifted_right((sums[j] >> shift) * reciprocal, 14));
        }
    }
}

/* Make the state ready for reading, after the last context row: the sums of each feature get
 * STATE_BITS bits. */
static void attention_finish(pfn_state *state, int32_t n_rows, const pfn_layer *layer) {
    (void)n_rows, (void)layer;
    for (int32_t h = 0; h < PFN_N_HEADS; h++) {
        uint8_t *exponent = state->exponent + h * PFN_D_HEAD;
        int32_t most = 0;
        for (int32_t i = 0; i < PFN_D_HEAD; i++) {
            shorten(state, h, i, excess((uint32_t)state->key_sum[h][i], STATE_BITS));
            most = exponent[i] > most ? exponent[i] : most;
        }
        for (int32_t i = 0; i < PFN_D_HEAD; i++) {
            const int32_t fewer = most - exponent[i];
            exponent[i] = (uint8_t)(fewer < 31 ? fewer : 31);
        }
    }
}

/* Whether a loaded state keeps the bounds on which attention_read relies. */
static int state_is_valid(const pfn_state *state) {
    for (int32_t h = 0; h < PFN_N_HEADS; h++) {
        for (int32_t i = 0; i < PFN_D_HEAD; i++) {
            const int32_t most = state->key_sum[h][i];
            if (most < 0 || most > 1 << STATE_BITS || state->exponent[h * PFN_D_HEAD + i] > 31) {
                return 0;
            }
            for (int32_t j = 0; j < PFN_D_HEAD; j++) {
                if (state->memory[h][i][j] > most || state->memory[h][i][j] < -most) {
                    return 0;
                }
            }
        }
    }
    return 1;
}
