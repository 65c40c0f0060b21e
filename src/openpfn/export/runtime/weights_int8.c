/* Matrices of weights in 8 bits, and their products in float32. A row's scale is the upper half of
 * a float. */

#define PFN_MATRIX(n_out, n_in)     \
    struct {                        \
        int8_t weight[n_out][n_in]; \
        uint16_t scale[n_out];      \
    }
#define MATRIX_PARAMETERS const int8_t *weight, const uint16_t *scale, int32_t n_out
#define MATRIX_ARGUMENTS weight, scale, n_out
#define MATRIX(matrix) &(matrix).weight[0][0], (matrix).scale, N_ROWS(matrix)
#define N_ROWS(matrix) ((int32_t)(sizeof(matrix).weight / sizeof(matrix).weight[0]))
typedef float pfn_factor;

static float scale_of(uint16_t half) {
    const uint32_t bits = (uint32_t)half << 16;
    float scale;
    memcpy(&scale, &bits, sizeof scale);
    return scale;
}

#ifdef __OPTIMIZE_SIZE__
enum { ROWS_AT_ONCE = 1 };
#else
enum { ROWS_AT_ONCE = 2 }; /* by four columns each: a third fewer instructions */
#endif
#define ADD_COLUMN(j) (sum += (float)first[j] * x[j], sum_of_next += (float)second[j] * x[j])

/* out (n_out) = base (NULL for none) + matrix (n_out, n_in) x (n_in) */
static void product(MATRIX_PARAMETERS, int32_t n_in, const float *x, const float *base,
                    float *out) {
    for (int32_t i = 0; i < n_out; i += ROWS_AT_ONCE) {
        const int32_t next = ROWS_AT_ONCE > 1 && i + 1 < n_out ? i + 1 : i;
        const int8_t *first = weight + i * n_in, *second = weight + next * n_in;
        float sum = 0.0f, sum_of_next = 0.0f, start = 0.0f, start_of_next = 0.0f;
        if (base != NULL) {
            start = base[i];
            start_of_next = base[next];
        }
        int32_t j = 0;
#ifndef __OPTIMIZE_SIZE__
        for (; j < n_in / 4 * 4; j += 4) {
            ADD_COLUMN(j);
            ADD_COLUMN(j + 1);
            ADD_COLUMN(j + 2);
            ADD_COLUMN(j + 3);
        }
#endif
        for (; j < n_in; j++) {
            ADD_COLUMN(j);
        }
        out[next] = start_of_next + scale_of(scale[next]) * sum_of_next;
        out[i] = start + scale_of(scale[i]) * sum;
    }
}

static void add_to_cell(MATRIX_PARAMETERS, int32_t n_in, const float *x, float *cell) {
    product(MATRIX_ARGUMENTS, n_in, x, cell, cell);
}

/* cell (E) += factor * row `row` of a table */
static void add_row(MATRIX_PARAMETERS, int32_t row, float factor, float *cell) {
    (void)n_out;
    factor *= scale_of(scale[row]);
    for (int32_t j = 0; j < PFN_D_MODEL; j++) {
        cell[j] += factor * (float)weight[row * PFN_D_MODEL + j];
    }
}
