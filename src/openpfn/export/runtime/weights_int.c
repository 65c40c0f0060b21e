/* Matrices of weights in 8 bits, and their products in integers. A row's scale is factor / 2^shift.
 * Right shifts of negative numbers are taken to round down, as every compiler in use does. */

#define PFN_MATRIX(n_out, n_in)              \
    struct {                                 \
        int8_t weight[n_out][n_in];          \
        uint8_t factor[n_out], shift[n_out]; \
    }
#define MATRIX_PARAMETERS \
    const int8_t *weight, const uint8_t *factor, const uint8_t *shift, int32_t n_out
#define MATRIX_ARGUMENTS weight, factor, shift, n_out
#define MATRIX(matrix) &(matrix).weight[0][0], (matrix).factor, (matrix).shift, N_ROWS(matrix)
#define N_ROWS(matrix) ((int32_t)(sizeof(matrix).weight / sizeof(matrix).weight[0]))
typedef int32_t pfn_factor; /* in steps of 2^-14; |factor| <= 2 */

/* x / 2^shift, rounded; |x| <= 2^30. */
static int32_t shifted_right(int32_t x, int32_t shift) {
    return (x + ((INT32_C(1) << shift) >> 1)) >> shift;
}

/* The nearest number that products may read. */
static int16_t clipped(int32_t x) {
    x = x < PFN_LARGEST_NUMBER ? x : PFN_LARGEST_NUMBER;
    return (int16_t)(x > -PFN_LARGEST_NUMBER ? x : -PFN_LARGEST_NUMBER);
}

/* One row of a matrix times x (n_in), in steps of what the matrix gives; PFN_SUM_SHIFT keeps it
 * below 2^30. */
static int32_t scaled(const int8_t *weight, int32_t factor, int32_t shift, int32_t n_in,
                      const int16_t *x) {
    int32_t sum = 0, j = 0;
#ifndef __OPTIMIZE_SIZE__
    for (; j <= n_in - 4; j += 4) {
        sum += (int32_t)weight[j] * x[j];
        sum += (int32_t)weight[j + 1] * x[j + 1];
        sum += (int32_t)weight[j + 2] * x[j + 2];
        sum += (int32_t)weight[j + 3] * x[j + 3];
    }
#endif
    for (; j < n_in; j++) {
        sum += (int32_t)weight[j] * x[j];
    }
    return shifted_right((sum >> PFN_SUM_SHIFT) * factor, shift);
}

/* out (n_out) = base (NULL for none) + matrix (n_out, n_in) x (n_in) */
static void product(MATRIX_PARAMETERS, int32_t n_in, const int16_t *x, const int16_t *base,
                    int16_t *out) {
    for (int32_t i = 0; i < n_out; i++) {
        out[i] = clipped(scaled(weight + i * n_in, factor[i], shift[i], n_in, x)
                         + (base != NULL ? base[i] : 0));
    }
}

/* cell (n_out) += matrix (n_out, n_in) x (n_in) */
static void add_to_cell(MATRIX_PARAMETERS, int32_t n_in, const int16_t *x, int32_t *cell) {
    for (int32_t i = 0; i < n_out; i++) {
        cell[i] += scaled(weight + i * n_in, factor[i], shift[i], n_in, x);
    }
}

/* cell (E) += by * row `row` of a table */
static void add_row(MATRIX_PARAMETERS, int32_t row, int32_t by, int32_t *cell) {
    (void)n_out;
    by *= factor[row];
    for (int32_t j = 0; j < PFN_D_MODEL; j++) {
        cell[j] += shifted_right(by * weight[row * PFN_D_MODEL + j], shift[row]);
    }
}
