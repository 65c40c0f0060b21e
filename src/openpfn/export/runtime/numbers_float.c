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
