/* A network as a list of operations on a chunk of rows, forward and backward. tape.py writes such lists.
 *
 * Values are numbered; each is [CHUNK, width], and so is its gradient. Weights lie in one array in the form that the
 * operations read: tables of links [in, V, out] with rows as `row_width` says, a linear layer's as links' with V = 1. */

#pragma once

#include "links.h"
#include "normalization.h"

enum operation { LINKS, BIAS, FOLD, RELU, TANH, MULTIPLY, MODULATE, ADD, PICK, MAX_ABS, MAX_CENTER, L2, LAYER_NORM };

typedef struct {
    int64_t kind, from, other, to; /* numbers of values; BIAS, RELU and TANH change one in place */
    int64_t weight, bias;          /* numbers of parameters */
    int64_t adds;                  /* whether `from` already has a gradient from another operation when this one adds to it */
    double constant;               /* the period of FOLD, what keeps a normalization's divisor from zero */
    const Plan *plan;              /* of LINKS */
} Operation;

/* A value of shared rows of which samples pick theirs is kept whole, `kept` numbers into each row's; else that is -1. */
typedef struct {
    int64_t width, has_gradient, kept;
} Value;

typedef struct {
    REAL *value, *moment, *square; /* torch's tensors; the moments are null where there are none */
    int64_t rows, columns, is_transposed;
    const Plan *plan; /* of the links whose table it is */
} Parameter;

/* The first `num_shared` operations are for rows that all samples share, which are value 1; PICK takes each sample's row
 * of a value that is kept, `kept_width` numbers in all, or of those rows themselves. */
typedef struct {
    int64_t num_values, num_operations, num_shared, num_parameters, kept_width;
    const Value *values;
    const Operation *operations;
    const Parameter *parameters;
} Tape;

/* What one thread works in. */
typedef struct {
    REAL **values, **grads, *row, *sums, *kept_grads, *targets;
    Scratch *scratch;
    int64_t *picked;
    double loss;
    int is_out_of_range;
} Worker;

/* What all threads read. */
typedef struct {
    const REAL *weights, *shared, *kept;
    const int64_t *offsets; /* of each parameter, in weights and sums */
    int64_t num_shared;
} Common;

INLINE REAL turned(REAL x, REAL period) {
    REAL turn = sizeof(REAL) == 8 ? (REAL)fmod(x + period / 2, 2 * period) : (REAL)fmodf((float)(x + period / 2), (float)(2 * period));
    return turn < 0 ? turn + 2 * period : turn;
}

INLINE REAL hyperbolic_tangent(REAL x) { return sizeof(REAL) == 8 ? (REAL)tanh(x) : (REAL)tanhf((float)x); }

static void fold_forward(const REAL *x, REAL *y, int64_t count, REAL period) {
    for (int64_t j = 0; j < count; j++) {
        REAL turn = turned(x[j], period);
        y[j] = (turn > period ? 2 * period - turn : turn) - period / 2;
    }
}

static void fold_backward(const REAL *x, const REAL *grad, REAL *grad_x, int64_t count, REAL period) {
    for (int64_t j = 0; j < count; j++) grad_x[j] += turned(x[j], period) > period ? -grad[j] : grad[j];
}

static void bias_forward(const REAL *bias, REAL *y, int64_t rows, int64_t width) {
    for (int64_t r = 0; r < rows; r++, y += width)
        for (int64_t j = 0; j < width; j++) y[j] += bias[j];
}

static void bias_backward(const REAL *grad, REAL *grad_bias, int64_t rows, int64_t width) {
    for (int64_t r = 0; r < rows; r++, grad += width)
        for (int64_t j = 0; j < width; j++) grad_bias[j] += grad[j];
}

/* x (1 + scale) + shift, with both side by side in `by`, or the scale alone. */
static void modulate_forward(const REAL *x, const REAL *by, REAL *y, int64_t rows, int64_t width, int64_t by_width) {
    for (int64_t r = 0; r < rows; r++, x += width, y += width, by += by_width)
        for (int64_t j = 0; j < width; j++) y[j] = x[j] * (1 + by[j]) + (by_width > width ? by[width + j] : 0);
}

static void modulate_backward(const REAL *x, const REAL *by, const REAL *grad, REAL *grad_x, REAL *to_by, int64_t rows,
                              int64_t width, int64_t by_width) {
    for (int64_t r = 0; r < rows; r++, x += width, grad += width, grad_x += width, by += by_width, to_by += by_width) {
        for (int64_t j = 0; j < width; j++) grad_x[j] = grad[j] * (1 + by[j]), to_by[j] = grad[j] * x[j];
        for (int64_t j = width; j < by_width; j++) to_by[j] = grad[j - width];
    }
}

static void forward_operation(const Tape *t, const Common *c, Worker *w, int64_t number, int64_t rows, int is_training) {
    const Operation *op = t->operations + number;
    int64_t from_width = t->values[op->from].width, width = t->values[op->to].width, count = rows * width;
    const REAL *x = w->values[op->from], *other = w->values[op->other];
    const REAL *weight = c->weights + c->offsets[op->weight], *bias = c->weights + c->offsets[op->bias];
    REAL *y = w->values[op->to];
    int64_t kept = t->values[op->from].kept, other_width = t->values[op->other].width;
    const REAL *picked = kept < 0 ? c->shared : c->kept + kept * c->num_shared;
    switch (op->kind) {
        case LINKS:
            expand(op->plan, w->scratch + number, x, rows, is_training && t->values[op->from].has_gradient);
            join(op->plan, w->scratch + number, weight, y, rows);
            break;
        case BIAS: bias_forward(bias, y, rows, width); break;
        case FOLD: fold_forward(x, y, count, (REAL)op->constant); break;
        case RELU: for (int64_t j = 0; j < count; j++) y[j] = y[j] <= 0 ? 0 : y[j]; break; /* NaN stays */
        case TANH: for (int64_t j = 0; j < count; j++) y[j] = hyperbolic_tangent(y[j]); break;
        case MULTIPLY: for (int64_t j = 0; j < count; j++) y[j] = x[j] * other[j]; break;
        case MODULATE: modulate_forward(x, other, y, rows, width, other_width); break;
        case ADD: for (int64_t j = 0; j < count; j++) y[j] = x[j] + other[j]; break;
        case PICK:
            for (int64_t r = 0; r < rows; r++)
                memcpy(y + r * width, picked + w->picked[r] * width, width * sizeof(REAL));
            break;
        case MAX_ABS: max_abs_forward(x, y, rows, from_width, op->constant); break;
        case MAX_CENTER: max_center_forward(x, y, rows, from_width, op->constant); break;
        case L2: l2_forward(x, y, rows, from_width, op->constant); break;
        default: layer_norm_forward(x, weight, bias, y, rows, from_width, op->constant);
    }
}

static void backward_operation(const Tape *t, const Common *c, Worker *w, int64_t number, int64_t rows) {
    const Operation *op = t->operations + number;
    const Value *from = t->values + op->from;
    int64_t width = t->values[op->to].width, count = rows * width;
    const REAL *x = w->values[op->from], *other = w->values[op->other], *y = w->values[op->to];
    const REAL *weight = c->weights + c->offsets[op->weight];
    REAL *grad = w->grads[op->to], *grad_x = from->has_gradient ? w->grads[op->from] : 0, *to_other = w->grads[op->other];
    REAL *to_weight = w->sums + c->offsets[op->weight], *to_bias = w->sums + c->offsets[op->bias];
    REAL *to_kept = w->kept_grads + from->kept * c->num_shared;
    if (grad_x && (op->kind == LINKS || op->kind == FOLD) && !op->adds) memset(grad_x, 0, rows * from->width * sizeof(REAL));
    switch (op->kind) {
        case LINKS: join_backward(op->plan, w->scratch + number, weight, grad, grad_x, to_weight, rows); break;
        case BIAS: bias_backward(grad, to_bias, rows, width); break;
        case FOLD: if (grad_x) fold_backward(x, grad, grad_x, count, (REAL)op->constant); break;
        case RELU: for (int64_t j = 0; j < count; j++) grad[j] = y[j] <= 0 ? 0 : grad[j]; break;
        case TANH: for (int64_t j = 0; j < count; j++) grad[j] *= 1 - y[j] * y[j]; break;
        case MULTIPLY: for (int64_t j = 0; j < count; j++) grad_x[j] = grad[j] * other[j], to_other[j] = grad[j] * x[j]; break;
        case MODULATE:
            modulate_backward(x, other, grad, grad_x, to_other, rows, width, t->values[op->other].width);
            break;
        case ADD: for (int64_t j = 0; j < count; j++) grad_x[j] = to_other[j] = grad[j]; break;
        case PICK:
            for (int64_t r = 0; grad_x && r < rows; r++)
                for (int64_t j = 0; j < width; j++) to_kept[w->picked[r] * width + j] += grad[r * width + j];
            break;
        case MAX_ABS: max_abs_backward(x, y, grad, grad_x, rows, width, op->constant); break;
        case MAX_CENTER: max_center_backward(x, y, grad, grad_x, rows, width, op->constant); break;
        case L2: l2_backward(x, grad, grad_x, rows, width, op->constant); break;
        default: layer_norm_backward(x, weight, grad, grad_x, to_weight, to_bias, w->row, rows, width, op->constant);
    }
}
