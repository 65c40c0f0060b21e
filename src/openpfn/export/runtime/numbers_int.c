/* The network's arithmetic in integers, with tables in place of functions. PFN_..._BITS say how
 * many bits of a number are its fraction. */

#define ONE INT32_C(16384)
#define AS_FLOAT(sum) ((float)(sum) * (1.0f / (INT32_C(1) << PFN_CELL_BITS)))

/* The number of bits by which x is longer than `bits`. */
static int32_t excess(uint32_t x, int32_t bits) {
    int32_t more = 0;
    for (x >>= bits; x != 0; x >>= 1) {
        more++;
    }
    return more;
}

/* The value of a table between its entries; position counts 256 to a step. */
static int32_t interpolated(const uint16_t *table, uint32_t position) {
    const int32_t low = table[position >> 8], high = table[(position >> 8) + 1];
    return low + ((high - low) * (int32_t)(position & 255) >> 8);
}

/* 2^-x in steps of 2^-20; x in steps of 2^-13. */
static int32_t two_to_minus(uint32_t x) {
    return x >> 13 < 21 ? interpolated(powers, x & 8191) << 4 >> (x >> 13) : 0;
}

/* e^x for x <= 0. */
static float exponential(float x) {
    if (!(x > -16.0f)) {
        return 0.0f;
    }
    return (float)two_to_minus((uint32_t)(-x * 11818.558f)) * (1.0f / 1048576.0f);
}

/* x P(normal < x) (GELU, Hendrycks & Gimpel 2016). */
static int16_t gelu(int16_t x) {
    const uint32_t position = ((uint32_t)(x < 0 ? -x : x) << 12) >> PFN_HIDDEN_BITS;
    const int32_t tail =
        position < 16384 ? shifted_right(interpolated(tails, position), 16 - PFN_HIDDEN_BITS) : 0;
    return (int16_t)((x > 0 ? x : 0) - tail); /* tail: |x| P(normal > |x|) */
}

/* out (E) = x / |x| in steps of 2^-14 (RMSNorm, Zhang & Sennrich 2019): sqrt(E) is folded into the
 * matrices that read it. */
static void normalise(const int32_t *x, int16_t *out) {
    uint32_t any = 0;
    for (int32_t i = 0; i < PFN_D_MODEL; i++) {
        any |= (uint32_t)(x[i] < 0 ? ~x[i] : x[i]);
    }
    const int32_t shift = excess(any, PFN_SQUARE_BITS);
    uint32_t total = (uint32_t)PFN_EPSILON >> shift >> shift;
    for (int32_t i = 0; i < PFN_D_MODEL; i++) {
        const int32_t short_x = x[i] >> shift;
        total += (uint32_t)(short_x * short_x);
    }
    int32_t down = 16; /* total = 2^30 / 4^(16 - down) m, 1 <= m < 4 */
    for (; total < UINT32_C(1) << 30; total <<= 2) {
        down--;
    }
    const int32_t root = interpolated(roots, (total >> 18) - 4096); /* 2^15 / sqrt(m) */
    for (int32_t i = 0; i < PFN_D_MODEL; i++) {
        out[i] = (int16_t)shifted_right((x[i] >> shift) * root, down);
    }
}

/* The place of z, squashed by 2 z / (2 + |z|), between evenly spread knots: the last knot before
 * it, and the share of the next one. */
static int32_t next_share(float z, int32_t *knot) {
    const uint32_t size = (uint32_t)(at_most_100(magnitude(z)) * 4096.0f);
    /* distance from the nearer end, as a share of the line between the outer knots */
    const int32_t beyond = (int32_t)((UINT32_C(1) << 26) / (8192 + size));
    const int32_t position = (z < 0.0f ? beyond : ONE - beyond) * (PFN_N_KNOTS - 1);
    *knot = position >> 14; /* 0 ... knots - 2 */
    return position & 16383;
}

/* The evidence in n context rows: n / (n + 64). */
static int32_t evidence(int32_t n_rows) {
    return ONE - (int32_t)(UINT32_C(64) * 16384 / ((uint32_t)n_rows + 64));
}

/* One head of the attention between columns: heads (K) = softmax(query key') value; keys and values
 * of n columns, 2 E apart. */
static void attend(const int16_t *query, const int16_t *key, int32_t n, int32_t *scores,
                   int16_t *heads) {
    int32_t most = INT32_MIN, total = 0, sums[PFN_D_HEAD] = {0};
    for (int32_t c = 0; c < n; c++) {
        int32_t score = 0; /* log2(e) is folded into the query */
        for (int32_t i = 0; i < PFN_D_HEAD; i++) {
            score += (int32_t)query[i] * key[c * 2 * PFN_D_MODEL + i];
        }
        scores[c] = score;
        most = score > most ? score : most;
    }
    for (int32_t c = 0; c < n; c++) {
        scores[c] = two_to_minus(((uint32_t)most - (uint32_t)scores[c]) >> (PFN_SCORE_BITS - 13));
        total += scores[c]; /* at least 2^20, at most 2^28 */
    }
    const int32_t shift = excess((uint32_t)total, 15);
    const int32_t reciprocal = (INT32_C(1) << 29) / (total >> shift);
    for (int32_t c = 0; c < n; c++) {
        const int32_t weight = (scores[c] >> shift) * reciprocal >> 15; /* in steps of 2^-14 */
        for (int32_t i = 0; i < PFN_D_HEAD; i++) {
            sums[i] += weight * key[c * 2 * PFN_D_MODEL + PFN_D_MODEL + i];
        }
    }
    for (int32_t i = 0; i < PFN_D_HEAD; i++) {
        heads[i] = clipped(shifted_right(sums[i], 14));
    }
}
