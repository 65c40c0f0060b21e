// What the sketches need of Arduino, on standard input and output.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <poll.h>
#include <unistd.h>

class __FlashStringHelper;
#define F(text) (reinterpret_cast<const __FlashStringHelper *>(text))

struct SerialPort {
    void begin(unsigned long) {}
    explicit operator bool() const { return true; }
    int available() {
        pollfd line = {0, POLLIN, 0};
        if (poll(&line, 1, 1) > 0 && (line.revents & POLLIN) == 0) exit(0); // hung up
        return (line.revents & POLLIN) != 0;
    }
    int read() {
        uint8_t byte;
        const ssize_t n = ::read(0, &byte, 1);
        if (n == 0) exit(0); // the end of a file
        return n == 1 ? byte : -1;
    }
    size_t write(const uint8_t *bytes, size_t n) {
        return static_cast<size_t>(::write(1, bytes, n));
    }
    void print(const char *text) {
        write(reinterpret_cast<const uint8_t *>(text), std::strlen(text));
    }
    void print(const __FlashStringHelper *text) { print(reinterpret_cast<const char *>(text)); }
    void print(char letter) { write(reinterpret_cast<const uint8_t *>(&letter), 1); }
    void print(long number) { print_as("%ld", number); }
    void print(int number) { print_as("%d", number); }
    void print(unsigned long number) { print_as("%lu", number); }
    void print(unsigned number) { print_as("%u", number); }
    void print(double number, int digits = 2) {
        char text[64];
        snprintf(text, sizeof text, "%.*f", digits, number);
        print(text);
    }
    void println() { print("\r\n"); }
    template <typename T> void println(T value) {
        print(value);
        println();
    }

  private:
    template <typename T> void print_as(const char *format, T number) {
        char text[32];
        snprintf(text, sizeof text, format, number);
        print(text);
    }
} Serial;

static inline uint32_t micros() {
    timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<uint32_t>(now.tv_sec * 1000000 + now.tv_nsec / 1000);
}
static inline uint32_t millis() { return micros() / 1000; }

void setup();
void loop();
int main() {
    setup();
    for (;;) loop();
}
