/* The network's arithmetic in float32. Comparisons are written so that NaN stays within bounds. */

#define ONE 1.0f
#define AS_FLOAT(sum) (sum)

/* e^x for x <= 0, error below 2e-7. */
static float exponential(float x) {
    if (!(x > -87.0f)) {
        return 0.0f;
    }
    const int32_t n = (int32_t)(x * 1.44269504f - 0.5f);
    const float r = x - (float)n * 0.693147181f; /* |r| <= ln 2 / 2: x = n ln 2 + r */
    const float tail = (((1.3684e-3f * r + 8.36964e-3f) * r + 4.167093e-2f) * r + 1.6666511e-1f) * r
                       + 4.9999982e-1f;
    const uint32_t bits = (uint32_t)(n + 127) << 23; /* 2^n */
    float power;
    memcpy(&power, &bits, sizeof power);
    return power * (1.0f + (r + r * r * tail));
}

/* x P(normal < x) (GELU, Hendrycks & Gimpel 2016), absolute error below 6e-7. The form of the tail
 * is that of Abramowitz & Stegun 7.1.28. */
static float gelu(float x) {
    const float u = x < 0.0f ? -x : x;
    float p = 6.03276207e-6f;
    p = p * u + 4.34911487e-5f;
    p = p * u + 5.44626751e-5f;
    p = p * u + 3.25496058e-3f;
    p = p * u + 2.11548086e-2f;
    p = p * u + 4.98644660e-2f;
    p = p * u + 1.0f;
    p *= p;
    p *= p;
    p *= p;
    p *= p;
    const float tail = x * (0.5f / p); /* x P(normal > |x|) */
    return x > 0.0f ? x - tail : tail;
}

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
