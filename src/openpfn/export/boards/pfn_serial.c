/* See pfn_serial.h. */
#include "pfn_serial.h"

#include <stddef.h>
#include <string.h>

/* The value of a hexadecimal digit, or -1. */
static int32_t digit_of(int32_t letter) {
    if (letter >= '0' && letter <= '9') {
        return letter - '0';
    }
    return letter >= 'a' && letter <= 'f' ? letter - 'a' + 10 : -1;
}

/* Read a line up to its end, whatever it holds. Return 1 for a word and whole numbers, -1 where
 * nothing came or the line is empty, 0 for anything else. */
static int32_t read_line(pfn_board *board) {
    int32_t n_letters = 0, n_digits = 8, valid = 1, letter;
    memset(board->word, 0, sizeof board->word);
    board->n_values = 0;
    while ((letter = board->read()) != '\n') {
        const int32_t digit = digit_of(letter);
        if (letter < 0) {
            return n_letters == 0 ? -1 : 0;
        } else if (letter == ' ') { /* ends a word or a number, begins a number */
            valid = valid && n_digits == 8 && board->n_values <= PFN_MAX_FEATURES;
            if (valid) {
                board->values[board->n_values++] = 0;
            }
            n_digits = 0;
        } else if (board->n_values > 0) {
            valid = valid && digit >= 0 && n_digits++ < 8;
            if (valid) {
                board->values[board->n_values - 1] =
                    board->values[board->n_values - 1] << 4 | (uint32_t)digit;
            }
        } else if (n_letters < (int32_t)sizeof board->word - 1) {
            board->word[n_letters++] = (char)letter;
        } else {
            valid = 0;
        }
    }
    if (n_letters == 0 && board->n_values == 0) {
        return -1;
    }
    return valid && n_letters > 0 && n_digits == 8;
}

/* Whether the line that was read is `word` and `n_values` numbers. */
static int says(const pfn_board *board, const char *word, int32_t n_values) {
    return strcmp(board->word, word) == 0 && board->n_values == n_values;
}

static void write_number(pfn_board *board, uint32_t value) {
    char text[9] = " ";
    for (int32_t i = 8; i > 0; i--) {
        text[i] = "0123456789abcdef"[value & 15u];
        value >>= 4;
    }
    board->write(text, (int32_t)sizeof text);
}

/* Write a line: a word and numbers. */
static void write_line(pfn_board *board, const char *word, const uint32_t *values,
                       int32_t n_values) {
    board->write(word, (int32_t)strlen(word));
    for (int32_t i = 0; i < n_values; i++) {
        write_number(board, values[i]);
    }
    board->write("\n", 1);
}

static int32_t row_of_computer(void *user, int32_t row, float *x, int32_t *y) {
    pfn_board *board = user;
    const int32_t n_features = board->context.n_features;
    const uint32_t number = (uint32_t)row;
    write_line(board, "row", &number, 1);
    if (read_line(board) != 1) {
        return -1;
    }
    if (says(board, "row", n_features + 1)) {
        *y = (int32_t)board->values[0];
        memcpy(x, board->values + 1, sizeof(float) * (size_t)n_features);
        return 1;
    }
    return says(board, "end", 0) ? 0 : -1;
}

static void fit(pfn_board *board) {
    const int32_t n_features = (int32_t)board->values[0], n_classes = (int32_t)board->values[1];
    const uint32_t status = (uint32_t)pfn_fit_stream(
        &board->context, row_of_computer, board, n_features, n_classes, NULL, 0, &board->scratch);
    write_line(board, "fitted", &status, 1);
}

static void ask(pfn_board *board) {
    float row[PFN_MAX_FEATURES], logits[PFN_MAX_CLASSES];
    uint32_t answer[2 + PFN_MAX_CLASSES];
    memcpy(row, board->values, sizeof row);
    const uint32_t began = board->clock();
    answer[0] = (uint32_t)pfn_predict_logits(&board->context, row, logits, &board->scratch);
    answer[1] = board->clock() - began;
    const int32_t n_logits = answer[0] == PFN_OK ? board->context.n_classes : 0;
    memcpy(answer + 2, logits, sizeof(float) * (size_t)n_logits);
    write_line(board, "answer", answer, 2 + n_logits);
}

void pfn_serial_answer(pfn_board *board) {
    const uint32_t facts[] = {PFN_SERIAL_VERSION, PFN_MODEL_ID,      PFN_MAX_FEATURES,
                              PFN_MAX_CLASSES,    PFN_CONTEXT_BYTES, PFN_SCRATCH_BYTES};
    const int32_t got = read_line(board);
    if (got < 0) {
        return;
    }
    if (got == 1 && says(board, "hello", 0)) {
        write_line(board, "openpfn", facts, 6);
    } else if (got == 1 && says(board, "fit", 2)) {
        fit(board);
    } else if (got == 1 && says(board, "ask", board->context.n_features)) {
        ask(board);
    } else {
        write_line(board, "error", NULL, 0);
    }
}
