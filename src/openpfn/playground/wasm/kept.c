/* The two-way table network with softmax attention between rows, for networks that keep their
 * context: what nano and nano-numbers compute in float32. Weights come in blocks of 8 bits. */
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "numbers_float.c"

#include "kept_weights.h" /* sizes, and static const block blocks[] */

#define EXPORT(name) __attribute__((export_name(#name))) name

enum {
    D_HEAD = D_MODEL / N_HEADS,
    N_INPUTS = 1 + 2 * N_KNOTS + 2, /* value, knots of value and rank, missing, category */
    MISSING = N_INPUTS - 2,
    CATEGORY = N_INPUTS - 1,
    MOST_COLUMNS = 65, /* the target among them */
    N_STEPS = 1 + N_KNOTS /* what a number as target is read by */
};

/* Matrices lie as (inputs, outputs); queries hold 1 / sqrt(head width). */
typedef struct {
    float query[D_MODEL][D_MODEL], key_value[D_MODEL][2 * D_MODEL], out[D_MODEL][D_MODEL];
} attention;

typedef struct {
    attention columns, rows;
    float hidden[D_MODEL][D_MLP], hidden_bias[D_MLP], out[D_MLP][D_MODEL], out_bias[D_MODEL];
} layer;

typedef struct {
#if NUMBERS
    float line[N_STEPS][D_MODEL], bias[D_MODEL];
#else
    float classes[MAX_OUTPUTS][D_MODEL];
#endif
    float unknown[D_MODEL], evidence[D_MODEL];
} targets;

static struct {
    float embed[1 + N_SHIFTS][N_INPUTS][D_MODEL], embed_bias[D_MODEL];
    targets target, hint;
    float thinking_cell[N_THINKING][D_MODEL], thinking_target[N_THINKING][D_MODEL];
    layer layers[N_LAYERS];
    struct {
        float query[D_MODEL][D_MODEL], out[D_MODEL][D_MODEL];
    } reading[N_LAYERS - 1];
    float head[D_MODEL][D_MLP], head_bias[D_MLP];
    float outputs[D_MLP][MAX_OUTPUTS], outputs_bias[MAX_OUTPUTS];
} weights;

/* What is kept of the context: statistics of each column, keys and values of each row. */
static struct {
    int32_t n_rows, n_columns; /* without thinking rows, and without the target */
    float mean[MOST_COLUMNS], inverse_std[MOST_COLUMNS], category[MOST_COLUMNS];
    int32_t n_present[MOST_COLUMNS];
    float *sorted; /* (D, n): values in order, missing ones last */
    float *keys, *values; /* (layers, columns, T + n, E); of the last layer, the target alone */
    float *scores; /* (T + n) */
} context;

static float cells[MOST_COLUMNS][D_MODEL]; /* of one row; the target last */
static float inputs[MOST_COLUMNS][N_INPUTS];

/* Weights from blocks of 8 bits that share a scale. */
void EXPORT(prepare)(void) {
    float *to = (float *)&weights;
    for (size_t i = 0; i < sizeof weights / sizeof(float); i++) {
        to[i] = blocks[i / BLOCK].scale * (float)blocks[i / BLOCK].weight[i % BLOCK];
    }
}

int32_t EXPORT(weight_numbers)(void) {
    return (int32_t)(sizeof weights / sizeof(float));
}

static void linear(const float *restrict matrix, const float *restrict bias, int32_t n_in,
                   int32_t n_out, const float *restrict x, float *restrict out) {
    for (int32_t j = 0; j < n_out; j++) {
        out[j] = bias == NULL ? 0.0f : bias[j];
    }
    for (int32_t i = 0; i < n_in; i++) {
        for (int32_t j = 0; j < n_out; j++) {
            out[j] += x[i] * matrix[i * n_out + j];
        }
    }
}

static void add(float *restrict cell, const float *restrict x, float factor) {
    for (int32_t i = 0; i < D_MODEL; i++) {
        cell[i] += factor * x[i];
    }
}

/* RMSNorm. */
static void normalise(const float *x, float *out) {
    float total = 0.0f;
    for (int32_t i = 0; i < D_MODEL; i++) {
        total += x[i] * x[i];
    }
    const float scale = 1.0f / __builtin_sqrtf(total / D_MODEL + 1e-6f);
    for (int32_t i = 0; i < D_MODEL; i++) {
        out[i] = x[i] * scale;
    }
}

/* heads (E) of one query (E) over n keys and values, (n, E) each; n scores of room. */
static void attend(const float *query, const float *keys, const float *values, int32_t n,
                   float *scores, float *heads) {
    for (int32_t h = 0; h < D_MODEL; h += D_HEAD) {
        float most = -1e30f, total = 0.0f, out[D_HEAD] = {0};
        for (int32_t row = 0; row < n; row++) {
            float score = 0.0f;
            for (int32_t i = 0; i < D_HEAD; i++) {
                score += query[h + i] * keys[row * D_MODEL + h + i];
            }
            scores[row] = score;
            most = score > most ? score : most;
        }
        for (int32_t row = 0; row < n; row++) {
            const float share = exponential(scores[row] - most);
            total += share;
            for (int32_t i = 0; i < D_HEAD; i++) {
                out[i] += share * values[row * D_MODEL + h + i];
            }
        }
        for (int32_t i = 0; i < D_HEAD; i++) {
            heads[h + i] = out[i] / total;
        }
    }
}

/* Weights of linear interpolation between knots spread evenly over 0 ... 1. */
static void between_knots(float position, float *out) {
    const float place = position * (N_KNOTS - 1);
    int32_t knot = (int32_t)place;
    knot = knot > N_KNOTS - 2 ? N_KNOTS - 2 : knot;
    out[knot] = 1.0f - (place - (float)knot);
    out[knot + 1] = place - (float)knot;
}

static float squashed(float z) {
    z = z > 100.0f ? 100.0f : z < -100.0f ? -100.0f : z;
    return z / (1.0f + (z < 0.0f ? -z : z) / 2.0f);
}

/* How many of a column's values in order lie below x, or up to it. */
static int32_t counted(const float *sorted, int32_t n, float x, int with_equal) {
    int32_t low = 0, high = n;
    while (low < high) {
        const int32_t middle = (low + high) / 2;
        if (sorted[middle] < x || (with_equal && sorted[middle] == x)) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* What the embedding reads of each value of a row. */
static void read_row(const float *row) {
    for (int32_t c = 0; c < context.n_columns; c++) {
        float *in = inputs[c];
        memset(in, 0, sizeof inputs[c]);
        in[CATEGORY] = context.category[c];
        if (row[c] != row[c]) {
            in[MISSING] = 1.0f;
            continue;
        }
        const int32_t n = context.n_present[c];
        const float *sorted = context.sorted + (size_t)c * (size_t)context.n_rows;
        const float below = (float)(counted(sorted, n, row[c], 0) + counted(sorted, n, row[c], 1));
        in[0] = squashed((row[c] - context.mean[c]) * context.inverse_std[c]);
        between_knots(in[0] / 4.0f + 0.5f, in + 1);
        between_knots(n > 0 ? below / (float)(2 * n) : 0.0f, in + 1 + N_KNOTS);
    }
}

static void embed_target(const targets *table, const float *target, float *out) {
    if (target == NULL) {
        const float n = (float)context.n_rows;
        memcpy(out, table->unknown, sizeof table->unknown);
        add(out, table->evidence, n / (n + 64.0f));
        return;
    }
#if NUMBERS
    float in[N_STEPS] = {0};
    in[0] = squashed(*target);
    between_knots(in[0] / 4.0f + 0.5f, in + 1);
    linear(&table->line[0][0], table->bias, N_STEPS, D_MODEL, in, out);
#else
    memcpy(out, table->classes[(int32_t)*target], sizeof table->classes[0]);
#endif
}

/* The cells of a row of values; without target for a query row. */
static void embed_row(const float *row, const float *target) {
    static const int32_t shifts[] = SHIFTS;
    float hint[D_MODEL];
    embed_target(&weights.hint, target, hint);
    embed_target(&weights.target, target, cells[context.n_columns]);
    read_row(row);
    for (int32_t c = 0; c < context.n_columns; c++) {
        memcpy(cells[c], weights.embed_bias, sizeof weights.embed_bias);
        add(cells[c], hint, 1.0f);
        for (int32_t s = 0; s <= N_SHIFTS; s++) {
            const float *in = inputs[(c + shifts[s]) % context.n_columns];
            for (int32_t i = 0; i < N_INPUTS; i++) {
                if (in[i] != 0.0f) {
                    add(cells[c], weights.embed[s][i], in[i]);
                }
            }
        }
    }
}

/* Columns `first` ... D of the row in `cells` read all of them. */
static void attend_columns(const attention *with, int32_t first) {
    static float keys[MOST_COLUMNS][D_MODEL], values[MOST_COLUMNS][D_MODEL];
    float normed[D_MODEL], both[2 * D_MODEL], query[D_MODEL], heads[D_MODEL];
    float scores[MOST_COLUMNS];
    static float taken[MOST_COLUMNS][D_MODEL];
    const int32_t n = context.n_columns + 1;
    for (int32_t c = 0; c < n; c++) {
        normalise(cells[c], normed);
        linear(&with->key_value[0][0], NULL, D_MODEL, 2 * D_MODEL, normed, both);
        memcpy(keys[c], both, sizeof keys[c]);
        memcpy(values[c], both + D_MODEL, sizeof values[c]);
    }
    for (int32_t c = first; c < n; c++) {
        normalise(cells[c], normed);
        linear(&with->query[0][0], NULL, D_MODEL, D_MODEL, normed, query);
        attend(query, keys[0], values[0], n, scores, heads);
        linear(&with->out[0][0], NULL, D_MODEL, D_MODEL, heads, taken[c]);
    }
    for (int32_t c = first; c < n; c++) {
        add(cells[c], taken[c], 1.0f);
    }
}

static float *kept(float *of, int32_t layer_index, int32_t column) {
    const size_t n = (size_t)(context.n_rows + N_THINKING);
    const size_t before = (size_t)(layer_index * (context.n_columns + 1));
    const int is_last = layer_index == N_LAYERS - 1;
    return of + (before + (is_last ? 0 : (size_t)column)) * n * D_MODEL;
}

/* Keep the key and value of a context row's cell. */
static void show_cell(int32_t layer_index, int32_t column, int32_t row) {
    float normed[D_MODEL], both[2 * D_MODEL];
    normalise(cells[column], normed);
    linear(&weights.layers[layer_index].rows.key_value[0][0], NULL, D_MODEL, 2 * D_MODEL, normed,
           both);
    memcpy(kept(context.keys, layer_index, column) + row * D_MODEL, both, sizeof normed);
    memcpy(kept(context.values, layer_index, column) + row * D_MODEL, both + D_MODEL,
           sizeof normed);
}

/* Let a cell read its column's context rows, then pass it through the MLP. */
static void finish_cell(int32_t layer_index, int32_t column, int is_query) {
    const layer *with = &weights.layers[layer_index];
    const int apart = is_query && layer_index < N_LAYERS - 1;
    const float *ask = apart ? &weights.reading[layer_index].query[0][0] : &with->rows.query[0][0];
    const float *answer = apart ? &weights.reading[layer_index].out[0][0] : &with->rows.out[0][0];
    float normed[D_MODEL], query[D_MODEL], heads[D_MODEL], hidden[D_MLP], out[D_MODEL];
    normalise(cells[column], normed);
    linear(ask, NULL, D_MODEL, D_MODEL, normed, query);
    attend(query, kept(context.keys, layer_index, column),
           kept(context.values, layer_index, column), context.n_rows + N_THINKING, context.scores,
           heads);
    linear(answer, NULL, D_MODEL, D_MODEL, heads, out);
    add(cells[column], out, 1.0f);
    normalise(cells[column], normed);
    linear(&with->hidden[0][0], with->hidden_bias, D_MODEL, D_MLP, normed, hidden);
    for (int32_t i = 0; i < D_MLP; i++) {
        hidden[i] = gelu(hidden[i]);
    }
    linear(&with->out[0][0], with->out_bias, D_MLP, D_MODEL, hidden, out);
    add(cells[column], out, 1.0f);
}

static void sort(float *values, int32_t n) { /* Shell's */
    for (int32_t gap = n / 2; gap > 0; gap = gap == 2 ? 1 : gap * 5 / 11) {
        for (int32_t i = gap; i < n; i++) {
            const float value = values[i];
            int32_t j = i;
            for (; j >= gap && values[j - gap] > value; j -= gap) {
                values[j] = values[j - gap];
            }
            values[j] = value;
        }
    }
}

static void fit_column(const float *x, int32_t c) {
    const int32_t n = context.n_rows, width = context.n_columns;
    float *sorted = context.sorted + (size_t)c * (size_t)n, total = 0.0f, squares = 0.0f;
    float largest = 1e-30f;
    int32_t n_present = 0;
    for (int32_t row = 0; row < n; row++) {
        const float value = x[row * width + c];
        if (value == value) {
            sorted[n_present++] = value;
            total += value;
            largest = value > largest ? value : -value > largest ? -value : largest;
        }
    }
    const float mean = n_present > 0 ? total / (float)n_present : 0.0f;
    for (int32_t i = 0; i < n_present; i++) {
        squares += (sorted[i] - mean) * (sorted[i] - mean);
    }
    const float std = __builtin_sqrtf(squares / (float)(n_present > 1 ? n_present - 1 : 1));
    sort(sorted, n_present);
    context.n_present[c] = n_present;
    context.mean[c] = mean;
    context.inverse_std[c] = std > 1e-6f * largest ? 1.0f / std : 0.0f;
}

/* Floats of room that `fit` wants for a context. */
int32_t EXPORT(room)(int32_t n_rows, int32_t n_columns) {
    const int32_t n = n_rows + N_THINKING, width = n_columns + 1;
    const int32_t states = ((N_LAYERS - 1) * width + 1) * n * D_MODEL;
    return n_columns * n_rows + 2 * states + n + n * width * D_MODEL;
}

/* Read x (n, D), which columns hold categories (D), and the targets (n): canonical classes, or
 * standardised numbers. */
void EXPORT(fit)(const float *x, const float *category, const float *y, int32_t n_rows,
                 int32_t n_columns, float *memory) {
    const int32_t n = n_rows + N_THINKING, width = n_columns + 1;
    const size_t states = (size_t)((N_LAYERS - 1) * width + 1) * (size_t)(n * D_MODEL);
    const size_t row_bytes = sizeof(float) * (size_t)(width * D_MODEL);
    context.n_rows = n_rows;
    context.n_columns = n_columns;
    context.sorted = memory;
    context.keys = context.sorted + n_columns * n_rows;
    context.values = context.keys + states;
    context.scores = context.values + states;
    float *all = context.scores + n; /* (T + n, columns, E) */
    memcpy(context.category, category, sizeof(float) * (size_t)n_columns);
    for (int32_t c = 0; c < n_columns; c++) {
        fit_column(x, c);
    }
    for (int32_t row = 0; row < n; row++) {
        if (row < N_THINKING) {
            for (int32_t c = 0; c < n_columns; c++) {
                memcpy(cells[c], weights.thinking_cell[row], sizeof cells[c]);
            }
            memcpy(cells[n_columns], weights.thinking_target[row], sizeof cells[0]);
        } else {
            embed_row(x + (row - N_THINKING) * n_columns, y + (row - N_THINKING));
        }
        memcpy(all + row * width * D_MODEL, cells, row_bytes);
    }
    for (int32_t l = 0; l < N_LAYERS; l++) {
        const int32_t first = l == N_LAYERS - 1 ? n_columns : 0;
        for (int32_t row = 0; row < n; row++) {
            memcpy(cells, all + row * width * D_MODEL, row_bytes);
            attend_columns(&weights.layers[l].columns, first);
            for (int32_t c = first; c < width; c++) {
                show_cell(l, c, row);
            }
            memcpy(all + row * width * D_MODEL, cells, row_bytes);
        }
        for (int32_t row = 0; row < n && first == 0; row++) {
            memcpy(cells, all + row * width * D_MODEL, row_bytes);
            for (int32_t c = 0; c < width; c++) {
                finish_cell(l, c, 0);
            }
            memcpy(all + row * width * D_MODEL, cells, row_bytes);
        }
    }
}

/* out (n, outputs) of rows (n, D): logits of classes, or quantiles of the standardised number. */
void EXPORT(predict)(const float *rows, int32_t n, float *out) {
    const int32_t target = context.n_columns;
    float normed[D_MODEL], hidden[D_MLP];
    for (int32_t row = 0; row < n; row++) {
        embed_row(rows + row * context.n_columns, NULL);
        for (int32_t l = 0; l < N_LAYERS; l++) {
            const int32_t first = l == N_LAYERS - 1 ? target : 0;
            attend_columns(&weights.layers[l].columns, first);
            for (int32_t c = first; c <= target; c++) {
                finish_cell(l, c, 1);
            }
        }
        normalise(cells[target], normed);
        linear(&weights.head[0][0], weights.head_bias, D_MODEL, D_MLP, normed, hidden);
        for (int32_t i = 0; i < D_MLP; i++) {
            hidden[i] = gelu(hidden[i]);
        }
        linear(&weights.outputs[0][0], weights.outputs_bias, D_MLP, MAX_OUTPUTS, hidden,
               out + row * MAX_OUTPUTS);
    }
}

int32_t EXPORT(n_outputs)(void) {
    return MAX_OUTPUTS;
}
