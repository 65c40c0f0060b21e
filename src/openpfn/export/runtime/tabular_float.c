/* What the two-way table network computes in float32, beside functions that every network needs. */

/* out (E) = x / sqrt(mean(x^2)) (RMSNorm, Zhang & Sennrich 2019). */
static void normalise(const float *x, float *out) {
    float total = 0.0f;
    for (int32_t i = 0; i < PFN_D_MODEL; i++) {
        total += x[i] * x[i];
    }
    const float scale = inverse_root(total * (1.0f / PFN_D_MODEL) + 1e-6f);
    for (int32_t i = 0; i < PFN_D_MODEL; i++) {
        out[i] = x[i] * scale;
    }
}

/* The place of z, squashed by 2 z / (2 + |z|), between evenly spread knots: the last knot before
 * it, and the share of the next one. */
static float next_share(float z, int32_t *knot) {
    /* distance from the nearer end, as a share of the line between the outer knots */
    const float beyond = 1.0f / (2.0f + at_most_100(magnitude(z)));
    const float position = (z < 0.0f ? beyond : 1.0f - beyond) * (PFN_N_KNOTS - 1);
    *knot = (int32_t)position; /* 0 ... knots - 2 */
    return position - (float)*knot;
}

/* The evidence in n context rows: n / (n + 64). */
static float evidence(int32_t n_rows) {
    return (float)n_rows / ((float)n_rows + 64.0f);
}

/* One head of the attention between columns: heads (K) = softmax(query key') value; keys and values
 * of n columns, 2 E apart. */
static void attend(const float *query, const float *key, int32_t n, float *scores, float *heads) {
    float most = -1e30f, total = 0.0f;
    for (int32_t c = 0; c < n; c++) {
        float score = 0.0f;
        for (int32_t i = 0; i < PFN_D_HEAD; i++) {
            score += query[i] * key[c * 2 * PFN_D_MODEL + i];
        }
        scores[c] = score;
        most = score > most ? score : most;
    }
    memset(heads, 0, sizeof(float) * PFN_D_HEAD);
    for (int32_t c = 0; c < n; c++) {
        const float *value = key + c * 2 * PFN_D_MODEL + PFN_D_MODEL;
        const float weight = exponential(scores[c] - most);
        total += weight;
        for (int32_t i = 0; i < PFN_D_HEAD; i++) {
            heads[i] += weight * value[i];
        }
    }
    for (int32_t i = 0; i < PFN_D_HEAD; i++) {
        heads[i] /= total;
    }
}
