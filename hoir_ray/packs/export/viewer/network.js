"use strict";
// The network in plain JavaScript: what hoir_ray/networks computes, step by step. WebGL2 is held against it.

/** Little-endian float32 numbers from base64. */
function decodeFloats(text) {
  const binary = atob(text), bytes = new Uint8Array(binary.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = binary.charCodeAt(i);
  return new Float32Array(bytes.buffer);
}

/** Positions on all axes, float32 [pixels, 2 * rotations], of the grid of `xs` and `ys`, rounded only once as they are in training. */
function axesOf(xs, ys, { rotations, right, bottom }) {
  const width = 2 * rotations, axes = new Float32Array(xs.length * ys.length * width);
  for (let r = 0; r < rotations; r++) {
    const angle = Math.PI / 2 * r / rotations, cos = Math.cos(angle), sin = Math.sin(angle);
    const along = cos * right + sin * bottom, across = cos * bottom + sin * right;
    for (let row = 0, at = 2 * r; row < ys.length; row++)
      for (let column = 0; column < xs.length; column++, at += width) {
        axes[at] = (cos * xs[column] + sin * ys[row]) / along;
        axes[at + 1] = (cos * ys[row] - sin * xs[column]) / across;
      }
  }
  return axes;
}

/** Colours in [-1, 1] as bytes; as Python rounds, NaN is black. */
function toByte(colour) {
  const scaled = Math.min(1, Math.max(0, (colour + 1) / 2)) * 255, low = Math.floor(scaled), rest = scaled - low;
  if (Number.isNaN(scaled)) return 0;
  return rest > 0.5 || (rest === 0.5 && low % 2) ? low + 1 : low;
}

const ACTIVATIONS = {
  none: z => z,
  relu: z => Math.max(0, z),
  sine: (z, omega) => Math.sin(omega * z),
  finer: (z, omega) => Math.sin(omega * (Math.abs(z) + 1) * z),
  gabor: (z, omega, scale) => Math.cos(omega * z) * Math.exp(-((scale * z) ** 2)),
};

class PlainNetwork {
  constructor(model, numbers, captions) {
    this.name = "javascript";
    this.model = model;
    this.captions = captions;
    this.widest = Math.max(model.in, ...model.steps.map(step => step.out || 0));
    this.steps = model.steps.map(step => this.prepare(step, numbers));
  }

  /** Colours as bytes, r g b a of each pixel, of positions from `axesOf`. */
  draw(axes, count, caption) {
    const given = this.model.in, x = new Float32Array(this.widest), y = new Float32Array(this.widest);
    const pixels = new Uint8ClampedArray(4 * count), by = this.captions && this.captions.subarray(caption * this.model.conditions);
    for (let pixel = 0; pixel < count; pixel++) {
      let from = x, to = y;
      for (let i = 0; i < given; i++) from[i] = axes[pixel * given + i];
      for (const step of this.steps) if (step(from, to, by)) [from, to] = [to, from];
      for (let c = 0; c < 3; c++) pixels[4 * pixel + c] = toByte(from[c]);
      pixels[4 * pixel + 3] = 255;
    }
    return pixels;
  }

  /** A function that takes what goes in, where what comes out goes (true) or that changes it in place (false). */
  prepare(step, numbers) {
    const width = step.width, offset = step.offset;
    switch (step.kind) {
      case "links": return this.links(step, numbers);
      case "add": case "shift": return (x, _, by) => { for (let i = 0; i < width; i++) x[i] += by[offset + i]; };
      case "scale": return (x, _, by) => { for (let i = 0; i < width; i++) x[i] *= 1 + by[offset + i]; };
      case "scale_shift": return (x, _, by) => {
        for (let i = 0; i < width; i++) x[i] = by[offset + width + i] + x[i] * (1 + by[offset + i]);
      };
      case "max_abs": return x => {
        let most = 0;
        for (let i = 0; i < width; i++) most = Math.max(most, Math.abs(x[i]));
        for (let i = 0; i < width; i++) x[i] /= Math.fround(most + 1e-6);
      };
      case "max_center": return x => {
        let most = -Infinity, least = Infinity;
        for (let i = 0; i < width; i++) { most = Math.max(most, x[i]); least = Math.min(least, x[i]); }
        const middle = Math.fround(0.5 * Math.fround(most + least)), reach = Math.fround(Math.fround(most - middle) + 1e-6);
        for (let i = 0; i < width; i++) x[i] = Math.fround(x[i] - middle) / reach;
      };
      case "l2": return x => {
        let sum = 0;
        for (let i = 0; i < width; i++) sum += x[i] * x[i];
        const length = Math.fround(Math.sqrt(sum) + 1e-6);
        for (let i = 0; i < width; i++) x[i] /= length;
      };
      case "layer_norm": return x => {
        let mean = 0, variance = 0;
        for (let i = 0; i < width; i++) mean += x[i] / width;
        for (let i = 0; i < width; i++) variance += (x[i] - mean) ** 2 / width;
        const by = 1 / Math.sqrt(variance + step.eps);
        for (let i = 0; i < width; i++) x[i] = (x[i] - mean) * by * numbers[step.weight + i] + numbers[step.bias + i];
      };
    }
    throw new Error(`unknown step ${step.kind}`);
  }

  links(step, numbers) {
    const { out, values: n, rows, tables, bias, period } = step, basis = this.basis(step);
    const activate = ACTIVATIONS[step.activation || "none"], { omega, scale } = step;
    const isProduct = step.join === "prod", values = new Float64Array(n), half = new Float64Array(out);
    return (x, y) => {
      for (let t = 0; t < tables.length; t++) {
        half.fill(isProduct ? 1 : 0);
        for (let i = 0; i < step.in; i++) {
          const first = basis(period === null ? x[i] : fold(x[i], period), values);
          const from = tables[t] + (i * rows + first) * out;
          if (isProduct)
            for (let o = 0; o < out; o++) {
              let link = 1;
              for (let j = 0; j < n; j++) link += values[j] * numbers[from + j * out + o];
              half[o] *= link;
            }
          else
            for (let j = 0; j < n; j++) {
              const value = values[j], row = from + j * out;
              if (value !== 0) for (let o = 0; o < out; o++) half[o] += value * numbers[row + o];
            }
        }
        for (let o = 0; o < out; o++) {
          const sum = (isProduct ? half[o] - 1 : half[o]) + (bias === null ? 0 : numbers[bias + o]);
          y[o] = t ? y[o] * sum : activate(sum, omega, scale);
        }
      }
      return true;
    };
  }

  /** A function that writes the basis functions' values at x, and returns the first row that they weigh. */
  basis(step) {
    const n = step.values;
    if (step.basis === "identity") return (x, values) => { values[0] = x; return 0; };
    if (step.basis === "fourier")
      return (x, values) => {
        values[0] = 0.5;
        for (let j = 1; j < n; j++) {
          const turns = x * ((j + 1) >> 1), angle = Math.PI * (turns - 2 * Math.round(turns / 2));
          values[j] = j % 2 ? Math.sin(angle) : Math.cos(angle);
        }
        return 0;
      };
    const nodes = step.nodes, factors = step.factors, right = new Float64Array(n);
    const lagrange = (x, values) => {
      right[0] = 1;
      for (let m = 0; m + 1 < n; m++) right[m + 1] = right[m] * 2 * (x - nodes[n - 1 - m]);
      for (let j = 0, left = 1; j < n; left *= 2 * (x - nodes[j++])) values[j] = left * right[n - 1 - j] * factors[j];
    };
    if (step.basis === "polynomial") return (x, values) => { lagrange(x, values); return 0; };
    const { segments, stride } = step;
    return (x, values) => {
      // In float32, as everywhere: an input at a border is to lie in the same segment.
      const position = Math.fround(Math.fround(Math.fround(x + 1) / 2) * segments);
      const segment = position > 0 ? Math.floor(Math.min(position, segments - 1)) : 0;
      const low = Math.fround(segment / segments * 2 - 1), high = Math.fround((segment + 1) / segments * 2 - 1);
      lagrange(2 * (x - low) / (high - low) - 1, values);
      return segment * stride;
    };
  }
}

function fold(x, period) {
  const shifted = x + 0.5 * period, rest = shifted - 2 * period * Math.floor(shifted / (2 * period));
  return Math.fround((rest > period ? 2 * period - rest : rest) - 0.5 * period);
}
