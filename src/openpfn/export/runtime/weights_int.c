/* Weights in 8 bits, and the products in which they enter, in integers. A row's scale is factor / 2^shift.
 * Right shifts of negative numbers are taken to round down, as with every compiler in use. */

#define PFN_MATRIX(n_out, n_in) struct { int8_t weight[n_out][n_in]; uint8_t factor[n_out], shift[n_out]; }
typedef int32_t pfn_factor;                                                         /* in steps of 2^-14; |factor| <= 2 */

/* x / 2^shift, rounded; |x| <= 2^30. */
static int32_t halved(int32_t x, int32_t shift) {
    return (x + ((INT32_C(1) << shift) >> 1)) >> shift;
}

/* The nearest number that products may take. */
static int16_t narrowed(int32_t x) {
    x = x < PFN_LARGEST_NUMBER ? x : PFN_LARGEST_NUMBER;
    return (int16_t)(x > -PFN_LARGEST_NUMBER ? x : -PFN_LARGEST_NUMBER);
}

/* Row by row, matrix (n_out, n_in) x (n_in) is added to `numbers` or, where those are NULL, to `sums`. */
static void add_product(const int8_t *weight, const uint8_t *factor, const uint8_t *shift, int32_t n_out, int32_t n_in,
                        const int16_t *x, int16_t *numbers, int32_t *sums) {
    for (int32_t i = 0; i < n_out; i++) {
        int32_t sum = 0, j = 0;
        for (; j <= n_in - 4; j += 4) {
            sum += (int32_t)weight[j] * x[j];
            sum += (int32_t)weight[j + 1] * x[j + 1];
            sum += (int32_t)weight[j + 2] * x[j + 2];
            sum += (int32_t)weight[j + 3] * x[j + 3];
        }
        for (; j < n_in; j++) {
            sum += (int32_t)weight[j] * x[j];
        }
        sum = halved((sum >> PFN_SUM_SHIFT) * factor[i], shift[i]);                 /* PFN_SUM_SHIFT keeps this below 2^30 */
        if (numbers != NULL) {
            numbers[i] = narrowed(numbers[i] + sum);
        } else {
            sums[i] += sum;
        }
        weight += n_in;
    }
}

static void add_scaled(const int8_t *weight, int32_t n, int32_t factor, int32_t shift, int32_t *out) {
    for (int32_t j = 0; j < n; j++) {
        out[j] += halved(factor * weight[j], shift);
    }
}

/* numbers (n_out) += matrix (n_out, n_in) x (n_in) */
#define ADD_PRODUCT(matrix, x, numbers) PRODUCT(matrix, x, numbers, NULL)
/* cell (n_out) += matrix (n_out, n_in) x (n_in) */
#define ADD_TO_CELL(matrix, x, cell) PRODUCT(matrix, x, NULL, cell)
#define PRODUCT(matrix, x, numbers, cell) \
    add_product(&(matrix).weight[0][0], (matrix).factor, (matrix).shift, N_ROWS(matrix), N_COLUMNS(matrix), x, numbers, cell)
/* cell (n_in) += factor * matrix[row] */
#define ADD_ROW(matrix, row, by, cell) \
    add_scaled((matrix).weight[row], N_COLUMNS(matrix), (by) * (matrix).factor[row], (matrix).shift[row], cell)
#define N_ROWS(matrix) ((int32_t)(sizeof (matrix).weight / sizeof (matrix).weight[0]))
#define N_COLUMNS(matrix) ((int32_t)(sizeof (matrix).weight[0] / sizeof (matrix).weight[0][0]))
