/* Matrices of weights in float32, and their products. */

#define PFN_MATRIX(n_out, n_in)    \
    struct {                       \
        float weight[n_out][n_in]; \
    }
#define MATRIX_PARAMETERS const float *weight, int32_t n_out
#define MATRIX_ARGUMENTS weight, n_out
#define MATRIX(matrix) &(matrix).weight[0][0], N_ROWS(matrix)
#define N_ROWS(matrix) ((int32_t)(sizeof(matrix).weight / sizeof(matrix).weight[0]))
typedef float pfn_factor;

/* out (n_out) = base (NULL for none) + matrix (n_out, n_in) x (n_in) */
static void product(MATRIX_PARAMETERS, int32_t n_in, const float *x, const float *base,
                    float *out) {
    for (int32_t i = 0; i < n_out; i++) {
        float sum = base != NULL ? base[i] : 0.0f;
        int32_t j = 0;
#ifndef __OPTIMIZE_SIZE__ /* by fours: a third fewer instructions */
        for (; j <= n_in - 4; j += 4) {
            sum += weight[j] * x[j];
            sum += weight[j + 1] * x[j + 1];
            sum += weight[j + 2] * x[j + 2];
            sum += weight[j + 3] * x[j + 3];
        }
#endif
        for (; j < n_in; j++) {
            sum += weight[j] * x[j];
        }
        out[i] = sum;
        weight += n_in;
    }
}

static void add_to_cell(MATRIX_PARAMETERS, int32_t n_in, const float *x, float *cell) {
    product(MATRIX_ARGUMENTS, n_in, x, cell, cell);
}

/* cell (E) += factor * row `row` of a table */
static void add_row(MATRIX_PARAMETERS, int32_t row, float factor, float *cell) {
    (void)n_out;
    for (int32_t j = 0; j < PFN_D_MODEL; j++) {
        cell[j] += factor * weight[row * PFN_D_MODEL + j];
    }
}
