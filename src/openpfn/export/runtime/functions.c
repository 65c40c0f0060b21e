/* Functions that every backend computes in float32, without a mathematics library. */

/* The weights of a pass: rows pass the layers one after the other, and again in each loop. */
#if PFN_N_PASSES > PFN_N_LAYERS
#define LAYER(pass) (&pfn_weights.layers[(pass) % PFN_N_LAYERS])
#else
#define LAYER(pass) (&pfn_weights.layers[pass])
#endif

static float magnitude(float x) {
    return x < 0.0f ? -x : x;
}

static float at_most_100(float x) {
    return x < 100.0f ? x : 100.0f;
}

#if PFN_INTEGER
/* a * b, never fused with a sum: bits must not depend on whether a core can do that. */
static float times(float a, float b) {
    const volatile float product = a * b;
    return product;
}
#else
#define times(a, b) ((a) * (b))
#endif

/* 1 / sqrt(x) for x > 0: a guess from the bits, then Newton's iteration. */
static float inverse_root(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    bits = 0x5f375a86u - (bits >> 1);
    float y;
    memcpy(&y, &bits, sizeof y);
    for (int32_t i = 0; i < 3; i++) {
        y += times(y, 0.5f - times(times(0.5f * x, y), y));
    }
    return y;
}

/* The value of a column in units of its deviation; NaN where it is missing. */
static float standardised(const pfn_context *ctx, const float *row, int32_t column) {
    const float x = ctx->feature[column] == NO_FEATURE ? 0.0f : row[ctx->feature[column]];
    return ((x - ctx->origin[column]) - ctx->mean[column]) * ctx->inverse_std[column];
}
