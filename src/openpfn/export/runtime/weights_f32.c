/* Weights in float32, and the two products in which they enter. */

typedef float pfn_factor;

#define PFN_MATRIX(n_out, n_in) struct { float weight[n_out][n_in]; }

static void add_product(const float *weight, int32_t n_out, int32_t n_in, const float *x, float *out) {
    for (int32_t i = 0; i < n_out; i++) {
        float sum = 0.0f;
        int32_t j = 0;
        for (; j <= n_in - 4; j += 4) {                                            /* by fours: a third fewer instructions */
            sum += weight[j] * x[j];
            sum += weight[j + 1] * x[j + 1];
            sum += weight[j + 2] * x[j + 2];
            sum += weight[j + 3] * x[j + 3];
        }
        for (; j < n_in; j++) {
            sum += weight[j] * x[j];
        }
        out[i] += sum;
        weight += n_in;
    }
}

static void add_scaled(const float *weight, int32_t n, float factor, float *out) {
    for (int32_t j = 0; j < n; j++) {
        out[j] += factor * weight[j];
    }
}

/* out (n_out) += matrix (n_out, n_in) x (n_in); cells are added to in the same way */
#define ADD_PRODUCT(matrix, x, out) add_product(&(matrix).weight[0][0], N_ROWS(matrix), N_COLUMNS(matrix), x, out)
#define ADD_TO_CELL ADD_PRODUCT
/* out (n_in) += factor * matrix[row] */
#define ADD_ROW(matrix, row, factor, out) add_scaled((matrix).weight[row], N_COLUMNS(matrix), factor, out)
#define N_ROWS(matrix) ((int32_t)(sizeof (matrix).weight / sizeof (matrix).weight[0]))
#define N_COLUMNS(matrix) ((int32_t)(sizeof (matrix).weight[0] / sizeof (matrix).weight[0][0]))
