/* Random pixels around targets, drawn and looked up in one pass. sampling.py and data.py have the same in plain torch,
 * number for number: the hash, the order in which it is used, and colours from a table of the 256 that there are. */

#include <stdint.h>
#include <string.h>

#define WEYL 0x9E3779B9u
#define BELOW_SIGN 0x7FFFFFFFu
#define MAX_PIXELS 4096 /* the most feature pixels that a config allows */

typedef struct {
    int64_t side, num, num_axes, per_picture, num_pictures, num_slots;
    int64_t steps_per_pixel; /* of the radial sampler; 0 for the uniform one */
    int64_t flips;
    const int32_t *steps;
    const float *relative;
    const uint8_t *table;
    const float *colours;
} plan;

static inline uint32_t mix(uint32_t x) {
    x ^= x >> 16;
    x *= 0x7FEB352Du;
    x ^= x >> 15;
    x *= 0x846CA68Bu;
    return x ^ x >> 16;
}

static inline int32_t mirror(int32_t i, int32_t side) {
    i = i < 0 ? -i : i;
    return i < side ? i : 2 * (side - 1) - i;
}

/* Numbers of the entries of `relative`, and pixels, of one target's features; loops without branches, to be vectorized. */
static void radial(const plan *p, uint32_t hash, int32_t row, int32_t column, int32_t *restrict which, int32_t *restrict at) {
    const int32_t num = (int32_t)p->num, half = (num + 1) / 2, side = (int32_t)p->side, per = (int32_t)p->steps_per_pixel;
    const int32_t *restrict steps = p->steps;
    for (int32_t j = 0; j < half; j++) which[j] = (int32_t)mix(hash + (uint32_t)j * WEYL);
    for (int32_t j = half; j < num; j++) which[j] = which[j - half] >> 16;
    for (int32_t j = 0; j < num; j++) which[j] = (which[j] & (per - 1)) + j * per;
    for (int32_t j = 0; j < num; j++) {
        const int32_t step = steps[which[j]];
        at[j] = mirror(row + (step >> 16), side) * side + mirror(column + (step & 0xFFFF) - 0x8000, side);
    }
}

static void uniform(const plan *p, uint32_t hash, int32_t row, int32_t column, int32_t *restrict which, int32_t *restrict at) {
    const int32_t num = (int32_t)p->num, side = (int32_t)p->side, target = row * side + column;
    for (int32_t j = 0; j < num; j++) {
        int32_t pixel = (int32_t)((mix(hash + (uint32_t)j * WEYL) & BELOW_SIGN) % (uint32_t)(side * side - 1));
        at[j] = pixel += pixel >= target; /* steps over the target */
        which[j] = (pixel / side - row + side - 1) * (2 * side - 1) + pixel % side - column + side - 1;
    }
}

static inline void look_up(const uint8_t *restrict bytes, const float *restrict colours, float *restrict out) {
    for (int k = 0; k < 3; k++) out[k] = colours[bytes[k]];
}

void draw(const plan *p, const int64_t *index, int64_t batch, uint32_t salt, float *features, float *targets) {
    const int32_t side = (int32_t)p->side, num = (int32_t)p->num, pixels = side * side;
    const int64_t num_axes = p->num_axes;
    const float *restrict relative = p->relative, *restrict colours = p->colours;
    int32_t which[MAX_PIXELS], at[MAX_PIXELS];
    for (int64_t b = 0; b < batch; b++, features += num * (3 + num_axes), targets += 3) {
        const uint32_t hash = mix((uint32_t)index[b] ^ salt);
        const int64_t picture = index[b] / p->per_picture;
        const int32_t pixel =
            (int32_t)(p->per_picture == pixels ? index[b] % pixels : (mix(hash + 1) & BELOW_SIGN) % pixels);
        const uint8_t *restrict bytes = p->table + 3 * (int64_t)pixels * (picture * p->num_slots / p->num_pictures);
        const int32_t row = pixel / side, column = pixel % side;
        if (p->steps_per_pixel)
            radial(p, hash, row, column, which, at);
        else
            uniform(p, hash, row, column, which, at);
        int32_t target = pixel;
        if (p->flips & mix(hash + 2)) {
            for (int32_t j = 0; j < num; j++) at[j] += side - 1 - 2 * (at[j] % side);
            target += side - 1 - 2 * column;
        }
        look_up(bytes + 3 * target, colours, targets);
        for (int32_t j = 0; j < num; j++) look_up(bytes + 3 * at[j], colours, features + 3 * j);
        float *restrict positions = features + 3 * num;
        if (num_axes == 4) /* a length known in advance is copied in one move */
            for (int32_t j = 0; j < num; j++) memcpy(positions + 4 * j, relative + 4 * which[j], 4 * sizeof(float));
        else
            for (int32_t j = 0; j < num; j++)
                memcpy(positions + num_axes * j, relative + num_axes * which[j], num_axes * sizeof(float));
    }
}
