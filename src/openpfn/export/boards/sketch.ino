// Fit and predict for a computer that runs `openpfn export verify FOLDER --port PORT`.
// The protocol stands in pfn_serial.h.
#include "pfn_serial.h"

static const uint32_t patience = 2000; // milliseconds after which an unfinished line is given up

static int32_t read_byte() {
    const uint32_t start = millis();
    while (Serial.available() <= 0) {
        if (millis() - start > patience) {
            return -1;
        }
    }
    return Serial.read();
}

static void write_bytes(const char *bytes, int32_t n) {
    Serial.write(reinterpret_cast<const uint8_t *>(bytes), static_cast<size_t>(n));
}

static uint32_t microseconds() {
    return micros();
}

static pfn_board board;

void setup() {
    board.read = read_byte;
    board.write = write_bytes;
    board.clock = microseconds;
    Serial.begin(115200);
}

void loop() {
    pfn_serial_answer(&board);
}
