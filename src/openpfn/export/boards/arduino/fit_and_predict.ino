// Type rows of a table into the serial monitor (115200 baud, a line end after each row):
//
//     0,5.1,3.5,1.4,0.2    a context row: its class, then a number per feature
//     1,7.0,3.2,,1.4       nothing between two commas is a missing value
//     ?,6.3,3.3,6.0,2.5    a question: the board answers with the probability of each class
//     clear                forget all rows
//
// The first row says how many features a row has. A question fits the rows that came before it.
// A status that is not 0 is explained in pfn.h.
#include <pfn.h>

static const int32_t max_rows = 60; // context rows that are kept; each takes 4 bytes a feature, + 4
static const int32_t max_letters = 16 * (PFN_MAX_FEATURES + 1);

static pfn_context context;   // what the network keeps of the rows
static pfn_workspace scratch; // its working memory
static float x[max_rows][PFN_MAX_FEATURES];
static int32_t y[max_rows];
static int32_t n_rows, n_features, n_classes;
static bool is_fitted;

static char line[max_letters + 1];
static int32_t n_letters;

static void clear() {
    n_rows = n_features = n_classes = 0;
    is_fitted = false;
}

// Write the number at `text` to `value`, NAN where there is none; return what follows it, or
// nullptr where something else stands there.
static const char *read_value(const char *text, float *value) {
    char *end;
    *value = static_cast<float>(strtod(text, &end));
    if (end == text) {
        *value = NAN;
    }
    while (*end == ' ') {
        end++;
    }
    return *end == ',' || *end == '\0' ? end : nullptr;
}

// Read the values after the class, or after the question mark. Return their number, 0 for none,
// -1 for a value that is no number, and PFN_MAX_FEATURES + 1 for too many.
static int32_t read_row(const char *text, float *row) {
    int32_t n = 0;
    while (text != nullptr && *text == ',') {
        if (n == PFN_MAX_FEATURES) {
            return n + 1;
        }
        text = read_value(text + 1, &row[n++]);
    }
    return text == nullptr || *text != '\0' ? -1 : n;
}

static void refuse(const __FlashStringHelper *reason) {
    Serial.print(F("refused: "));
    Serial.println(reason);
}

static bool has_right_length(int32_t n) {
    if (n < 1) {
        refuse(F("a row is a class or ?, then numbers, with commas between them"));
    } else if (n > PFN_MAX_FEATURES) {
        refuse(F("more features than the library was exported for"));
    } else if (n_rows > 0 && n != n_features) {
        refuse(F("not as many features as the first row has"));
    } else {
        return true;
    }
    return false;
}

static void keep_row(int32_t label, const float *row, int32_t n) {
    if (label < 0 || label >= PFN_MAX_CLASSES) {
        refuse(F("classes are 0, 1, 2 ... below the number that was exported"));
    } else if (n_rows == max_rows) {
        refuse(F("no room for more rows: raise max_rows, or type clear"));
    } else {
        n_features = n;
        memcpy(x + n_rows, row, sizeof(float) * static_cast<size_t>(n));
        y[n_rows++] = label;
        n_classes = label >= n_classes ? label + 1 : n_classes;
        is_fitted = false;
    }
}

// Give pfn_fit_stream one of the rows that are kept.
static int32_t kept_row(void *, int32_t row, float *values, int32_t *label) {
    if (row >= n_rows) {
        return 0;
    }
    memcpy(values, x[row], sizeof(float) * static_cast<size_t>(n_features));
    *label = y[row];
    return 1;
}

static bool fit() {
    const uint32_t began = micros();
    const pfn_status status = pfn_fit_stream(&context, kept_row, nullptr, n_features, n_classes,
                                             nullptr, 0, &scratch);
    const uint32_t took = micros() - began;
    is_fitted = status == PFN_OK;
    Serial.print(is_fitted ? F("fit of ") : F("failed with status "));
    Serial.print(is_fitted ? n_rows : static_cast<int32_t>(status));
    if (is_fitted) {
        Serial.print(F(" rows took "));
        Serial.print(took);
        Serial.print(F(" microseconds"));
    }
    Serial.println();
    return is_fitted;
}

static void answer(const float *row) {
    float proba[PFN_MAX_CLASSES];
    const uint32_t began = micros();
    const pfn_status status = pfn_predict_proba(&context, row, proba, &scratch);
    const uint32_t took = micros() - began;
    if (status != PFN_OK) {
        Serial.print(F("failed with status "));
        Serial.println(static_cast<int32_t>(status));
        return;
    }
    Serial.print(F("classes"));
    for (int32_t c = 0; c < n_classes; c++) {
        Serial.print(' ');
        Serial.print(proba[c], 6);
    }
    Serial.print(F(" took "));
    Serial.print(took);
    Serial.println(F(" microseconds"));
}

static void take_line() {
    float row[PFN_MAX_FEATURES];
    char *after;
    const int32_t label = static_cast<int32_t>(strtol(line, &after, 10));
    if (strcmp(line, "clear") == 0) {
        clear();
    } else if (line[0] == '?') {
        if (n_rows == 0) {
            refuse(F("no rows are known yet"));
        } else if (has_right_length(read_row(line + 1, row)) && (is_fitted || fit())) {
            answer(row);
        }
    } else {
        const int32_t n = after == line ? -1 : read_row(after, row);
        if (has_right_length(n)) {
            keep_row(label, row, n);
        }
    }
}

void setup() {
    Serial.begin(115200);
    while (!Serial) {
    }
    Serial.println(F("send rows: class,number,number,... or ?,number,number,..."));
}

void loop() {
    if (Serial.available() <= 0) {
        return;
    }
    const int letter = Serial.read();
    if (letter != '\n' && letter != '\r') {
        if (n_letters <= max_letters) {
            n_letters++;
        }
        if (n_letters <= max_letters) {
            line[n_letters - 1] = static_cast<char>(letter);
        }
    } else if (n_letters > max_letters) {
        refuse(F("the line is too long"));
        n_letters = 0;
    } else if (n_letters > 0) {
        line[n_letters] = '\0';
        n_letters = 0;
        take_line();
    }
}
