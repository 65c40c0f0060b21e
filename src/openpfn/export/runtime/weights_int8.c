/* Weights in 8 bits with a scale per row, the upper half of a float, and the two products in which they enter. */

typedef float pfn_factor;

#define PFN_MATRIX(n_out, n_in) struct { int8_t weight[n_out][n_in]; uint16_t scale[n_out]; }

static float scale_of(uint16_t half) {
    const uint32_t bits = (uint32_t)half << 16;
    float scale;
    memcpy(&scale, &bits, sizeof scale);
    return scale;
}

static void add_product(const int8_t *weight, const uint16_t *scale, int32_t n_out, int32_t n_in, const float *x, float *out) {
    for (int32_t i = 0; i < n_out; i++) {
        float sum = 0.0f;
        int32_t j = 0;
        for (; j <= n_in - 4; j += 4) {                                            /* by fours: a third fewer instructions */
            sum += (float)weight[j] * x[j];
            sum += (float)weight[j + 1] * x[j + 1];
            sum += (float)weight[j + 2] * x[j + 2];
            sum += (float)weight[j + 3] * x[j + 3];
        }
        for (; j < n_in; j++) {
            sum += (float)weight[j] * x[j];
        }
        out[i] += scale_of(scale[i]) * sum;
        weight += n_in;
    }
}

static void add_scaled(const int8_t *weight, int32_t n, float factor, float *out) {
    for (int32_t j = 0; j < n; j++) {
        out[j] += factor * (float)weight[j];
    }
}

/* out (n_out) += matrix (n_out, n_in) x (n_in); cells are added to in the same way */
#define ADD_PRODUCT(matrix, x, out) add_product(&(matrix).weight[0][0], (matrix).scale, N_ROWS(matrix), N_COLUMNS(matrix), x, out)
#define ADD_TO_CELL ADD_PRODUCT
/* out (n_in) += factor * matrix[row] */
#define ADD_ROW(matrix, row, factor, out) add_scaled((matrix).weight[row], N_COLUMNS(matrix), (factor) * scale_of((matrix).scale[row]), out)
#define N_ROWS(matrix) ((int32_t)(sizeof (matrix).weight / sizeof (matrix).weight[0]))
#define N_COLUMNS(matrix) ((int32_t)(sizeof (matrix).weight[0] / sizeof (matrix).weight[0][0]))
