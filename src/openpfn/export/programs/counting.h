/* Instructions and stack that a program on the host or an emulated chip has used. */
#ifndef COUNTING_H
#define COUNTING_H

#include <stdint.h>

/* Instructions so far (the emulator counts them as nanoseconds of its clock), or 0 where nothing
 * counts them. */
#if defined(__riscv)
static uint64_t instructions(void) {
    uint32_t low, high, again;
    do {
        __asm__ volatile(".option push\n"
                         ".option arch, +zicsr\n"
                         "csrr %0, minstreth\n"
                         "csrr %1, minstret\n"
                         "csrr %2, minstreth\n"
                         ".option pop"
                         : "=r"(high), "=r"(low), "=r"(again));
    } while (high != again);
    return (uint64_t)high << 32 | low;
}
#elif defined(__ARM_ARCH_PROFILE) && __ARM_ARCH_PROFILE == 'M'
/* Control, reload and value: counts down, one tick is TICK_TENTHS / 10 ns. */
#define SYSTICK ((volatile uint32_t *)0xE000E010)
static uint32_t wraps, latest;
static uint64_t instructions(void) {
    if ((SYSTICK[0] & 1u) == 0) {
        SYSTICK[1] = 0xFFFFFF;
        SYSTICK[2] = 0;
        SYSTICK[0] = 5;
    }
    const uint32_t wrapped = SYSTICK[0] >> 16 & 1u, now = 0xFFFFFF - SYSTICK[2];
    wraps += wrapped || now < latest;
    latest = now;
    return (((uint64_t)wraps << 24) + now) * TICK_TENTHS / 10;
}
#else
static uint64_t instructions(void) {
    return 0;
}
#endif

/* Instructions since `start`, less those of counting; 0 where nothing was done. */
static uint64_t since(uint64_t start, uint64_t counting) {
    const uint64_t taken = instructions() - start;
    return taken > counting ? taken - counting : 0;
}

/* Paint memory below the stack pointer; `depth` then tells how much of it was used since. */
#define ROOM 4096
static uintptr_t painted_from;
static void __attribute__((noinline)) paint(void) {
    volatile uint8_t room[ROOM];
    for (int32_t i = 0; i < ROOM; i++) {
        room[i] = 0xA5;
    }
    painted_from = (uintptr_t)&room[0];
}
static int32_t __attribute__((noinline)) depth(void) {
    const volatile uint8_t *room = (const volatile uint8_t *)painted_from;
    int32_t untouched = 0;
    while (untouched < ROOM && room[untouched] == 0xA5) {
        untouched++;
    }
    return ROOM - untouched;
}
#endif
