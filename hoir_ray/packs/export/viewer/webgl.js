"use strict";
// The network in WebGL2: a pass over a tile of pixels for each step, four units of a layer in each texel.

const TILE_WIDTH = 128, WEIGHTS_WIDTH = 2048;  // texels; WebGL2 promises 2048 of them
const MOST_NODES = 64;  // as many as float32 holds the products of
const CORNERS = `#version 300 es
void main() { gl_Position = vec4(gl_VertexID == 1 ? 3.0 : -1.0, gl_VertexID == 2 ? 3.0 : -1.0, 0.0, 1.0); }`;
const HEAD = `#version 300 es
precision highp float; precision highp int; precision highp sampler2D;
uniform sampler2D given, weights; uniform int rows, width, inputs, table, other, bias; uniform float period;
out vec4 result;
ivec2 at; int group;
vec4 unit4(int i) { return texelFetch(given, ivec2(at.x, i * rows + at.y), 0); }
float unit(int i) { return unit4(i >> 2)[i & 3]; }
vec4 number(int i) { return texelFetch(weights, ivec2(i & ${WEIGHTS_WIDTH - 1}, i / ${WEIGHTS_WIDTH}), 0); }
void place() { ivec2 p = ivec2(gl_FragCoord.xy); group = p.y / rows; at = ivec2(p.x, p.y - group * rows); }
`;
const LINKS = `
const float PI = 3.14159265358979;
float fold(float x) {
  float shifted = x + 0.5 * period, rest = shifted - 2.0 * period * floor(shifted / (2.0 * period));
  return (rest > period ? 2.0 * period - rest : rest) - 0.5 * period;
}
void main() {
  place();
  int groups = (width + 3) >> 2;
  vec4 total = vec4(IS_PRODUCT ? 1.0 : 0.0), second = total;
  for (int i = 0; i < inputs; i++) {
    float x = unit(i); int first = 0;
    if (period > 0.0) x = fold(x);
    vec4 link = vec4(0.0), link2 = vec4(0.0);
    PREPARE
    for (int j = 0; j < N; j++) {
      VALUE
      int from = (i * ROWS + first + j) * groups + group;
      link += value * number(table + from);
      if (IS_SWITCH) link2 += value * number(other + from);
    }
    if (IS_PRODUCT) { total *= 1.0 + link; second *= 1.0 + link2; } else { total += link; second += link2; }
  }
  if (IS_PRODUCT) { total -= 1.0; second -= 1.0; }
  if (bias >= 0) total += number(bias + group);
  ACTIVATE
  result = IS_SWITCH ? total * second : total;
}`;
const LAGRANGE = `float left = 1.0, right[N]; right[0] = 1.0;
    for (int m = 0; m + 1 < N; m++) right[m + 1] = right[m] * (2.0 * (x - nodes[N - 1 - m]));`;
const BASES = {
  identity: { prepare: "", value: "float value = x;" },
  fourier: {
    prepare: "",
    value: `float turns = x * float((j + 1) >> 1), angle = PI * (turns - 2.0 * floor(turns / 2.0 + 0.5));
      float value = j == 0 ? 0.5 : (j & 1) == 1 ? sin(angle) : cos(angle);`,
  },
  polynomial: { prepare: LAGRANGE, value: "float value = left * right[N - 1 - j] * factors[j]; left *= 2.0 * (x - nodes[j]);" },
};
BASES.piecewise = {
  prepare: `float place = ((x + 1.0) * 0.5) * SEGMENTS;
    float segment = place > 0.0 ? floor(min(place, SEGMENTS - 1.0)) : 0.0;
    float low = segment / SEGMENTS * 2.0 - 1.0, high = (segment + 1.0) / SEGMENTS * 2.0 - 1.0;
    first = int(segment) * STRIDE; x = 2.0 * ((x - low) / (high - low)) - 1.0;
    ${LAGRANGE}`,
  value: BASES.polynomial.value,
};
// Sines of large angles are inexact in many a driver, so that whole turns are left out first.
const WAVE = angle => `vec4 a = ${angle}; a -= 2.0 * PI * floor(a / (2.0 * PI) + 0.5);`;
const ACTIVATIONS_GL = {
  none: "",
  relu: "total = max(total, 0.0);",
  sine: `${WAVE("OMEGA * total")} total = sin(a);`,
  finer: `${WAVE("OMEGA * (abs(total) + 1.0) * total")} total = sin(a);`,
  gabor: `${WAVE("OMEGA * total")} total = cos(a) * exp(-(SCALE * total) * (SCALE * total));`,
};
// `each` runs over a pixel's units before `result` is written; units beyond the last are left out.
const NORMS = {
  max_abs: ["float most = 0.0;", "most = max(most, abs(u));", "x / (most + 1e-6)"],
  max_center: [
    "float most = unit(0), least = most;", "most = max(most, u); least = min(least, u);",
    "(x - 0.5 * (most + least)) / (most - 0.5 * (most + least) + 1e-6)",
  ],
  l2: ["float sum = 0.0;", "sum += u * u;", "x / (sqrt(sum) + 1e-6)"],
  layer_norm: [
    "float mean = 0.0, sum = 0.0; for (int i = 0; i < width; i++) mean += unit(i) / float(width);",
    "sum += (u - mean) * (u - mean);",
    "(x - mean) * inversesqrt(sum / float(width) + EPS) * number(table + group) + number(other + group)",
  ],
};
const MODULATIONS = {
  add: "x + number(table + group)",
  shift: "x + number(table + group)",
  scale: "x * (1.0 + number(table + group))",
  scale_shift: "number(other + group) + x * (1.0 + number(table + group))",
};

function shaderOf(step) {
  if (step.kind in MODULATIONS) return `${HEAD} void main() { place(); vec4 x = unit4(group); result = ${MODULATIONS[step.kind]}; }`;
  if (step.kind in NORMS) {
    const [start, each, end] = NORMS[step.kind];
    return `${HEAD} const float EPS = ${(step.eps || 0).toExponential()};
      void main() { place(); ${start} for (int i = 0; i < width; i++) { float u = unit(i); ${each} } vec4 x = unit4(group); result = ${end}; }`;
  }
  const floats = list => `float[${list.length}](${list.map(v => v.toExponential()).join(",")})`, basis = BASES[step.basis];
  const nodes = step.nodes ? `const float nodes[N] = ${floats(step.nodes)}; const float factors[N] = ${floats(step.factors)};` : "";
  return `${HEAD} const int N = ${step.values}, ROWS = ${step.rows}, STRIDE = ${step.stride || 0};
    const float SEGMENTS = ${(step.segments || 1).toExponential()};
    const bool IS_PRODUCT = ${step.join === "prod"}, IS_SWITCH = ${step.tables.length > 1};
    const float OMEGA = ${(step.omega || 0).toExponential()}, SCALE = ${(step.scale || 0).toExponential()};
    ${nodes} ${LINKS.replace("PREPARE", basis.prepare).replace("VALUE", basis.value).replace("ACTIVATE", ACTIVATIONS_GL[step.activation || "none"])}`;
}

class WebGLNetwork {
  /** Throws where this browser cannot run the network. */
  constructor(model, numbers, captions) {
    this.name = "webgl2";
    this.model = model;
    if (model.steps.some(step => step.nodes && step.nodes.length > MOST_NODES)) throw new Error("needs float64");
    this.canvas = document.createElement("canvas");
    const gl = this.gl = this.canvas.getContext("webgl2", { antialias: false, depth: false });
    if (!gl || !gl.getExtension("EXT_color_buffer_float")) throw new Error("no WebGL2 with float textures");
    const widest = Math.max(model.in, ...model.steps.map(step => step.out || 0));
    this.groups = (widest + 3) >> 2;
    this.most = Math.min(gl.getParameter(gl.MAX_TEXTURE_SIZE), 8192);
    this.tileRows = Math.min(128, Math.floor(this.most / this.groups));
    if (this.tileRows < 1) throw new Error("layers too wide for this graphics card");
    this.lay(numbers, captions);
    this.programs = model.steps.map(step => this.program(shaderOf(step)));
    this.ends = [0, 1].map(() => this.texture(TILE_WIDTH, this.groups * this.tileRows, null));
    this.frame = gl.createFramebuffer();
    gl.bindVertexArray(gl.createVertexArray());
  }

  /** Weights and captions into one texture, each row of a table filled up to whole texels. */
  lay(numbers, captions) {
    const rows = [], add = (from, width, count = 1, source = numbers) => {
      const place = this.texels;
      rows.push({ from, width, count, source });
      this.texels += count * ((width + 3) >> 2);
      return place;
    };
    this.texels = 0;
    this.places = this.model.steps.map(step => {
      if (step.kind === "links") {
        const tables = step.tables.map(from => add(from, step.out, step.in * step.rows));
        return { table: tables[0], other: tables[1] || 0, bias: step.bias === null ? -1 : add(step.bias, step.out) };
      }
      if (step.kind === "layer_norm") return { table: add(step.weight, step.width), other: add(step.bias, step.width) };
      if (!(step.kind in MODULATIONS)) return {};
      return { captions: Array.from({ length: this.model.captions.length }, (_, c) => {
        const from = c * this.model.conditions + step.offset;
        const table = add(from, step.width, 1, captions);
        return { table, other: step.kind === "scale_shift" ? add(from + step.width, step.width, 1, captions) : 0 };
      }) };
    });
    const height = Math.ceil(this.texels / WEIGHTS_WIDTH), laid = new Float32Array(4 * WEIGHTS_WIDTH * height);
    if (height > this.most) throw new Error("too many weights for this graphics card");
    let at = 0;
    for (const { from, width, count, source } of rows)
      for (let row = 0; row < count; row++, at += 4 * ((width + 3) >> 2))
        laid.set(source.subarray(from + row * width, from + (row + 1) * width), at);
    this.weights = this.texture(WEIGHTS_WIDTH, height, laid);
  }

  texture(width, height, content) {
    const gl = this.gl, texture = gl.createTexture();
    gl.bindTexture(gl.TEXTURE_2D, texture);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA32F, width, height, 0, gl.RGBA, gl.FLOAT, content);
    for (const name of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(gl.TEXTURE_2D, name, gl.NEAREST);
    return texture;
  }

  program(source) {
    const gl = this.gl, program = gl.createProgram();
    for (const [kind, text] of [[gl.VERTEX_SHADER, CORNERS], [gl.FRAGMENT_SHADER, source]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, text);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(program) || "a shader failed");
    const places = {};
    for (const name of ["given", "weights", "rows", "width", "inputs", "table", "other", "bias", "period"])
      places[name] = gl.getUniformLocation(program, name);
    return { program, places };
  }

  draw(axes, count, caption) {
    const pixels = new Uint8ClampedArray(4 * count), most = TILE_WIDTH * this.tileRows;
    for (let start = 0; start < count; start += most) this.tile(axes, start, Math.min(count, start + most), caption, pixels);
    return pixels;
  }

  tile(axes, start, end, caption, pixels) {
    const gl = this.gl, rows = Math.ceil((end - start) / TILE_WIDTH), given = this.model.in, groups = (given + 3) >> 2;
    const input = new Float32Array(4 * TILE_WIDTH * rows * groups);
    for (let pixel = start; pixel < end; pixel++)
      for (let i = 0; i < given; i++)
        input[4 * ((i >> 2) * TILE_WIDTH * rows + pixel - start) + (i & 3)] = axes[pixel * given + i];
    let [from, to] = this.ends, width = given;
    gl.bindTexture(gl.TEXTURE_2D, from);
    gl.texSubImage2D(gl.TEXTURE_2D, 0, 0, 0, TILE_WIDTH, rows * groups, gl.RGBA, gl.FLOAT, input);
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.frame);
    this.model.steps.forEach((step, number) => {
      const { program, places } = this.programs[number], place = this.places[number];
      const inputs = width;
      width = step.out || width;
      gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, to, 0);
      gl.viewport(0, 0, TILE_WIDTH, rows * ((width + 3) >> 2));
      gl.useProgram(program);
      gl.activeTexture(gl.TEXTURE1);
      gl.bindTexture(gl.TEXTURE_2D, this.weights);
      gl.activeTexture(gl.TEXTURE0);
      gl.bindTexture(gl.TEXTURE_2D, from);
      const { table = 0, other = 0 } = place.captions ? place.captions[caption] : place;
      const whole = { given: 0, weights: 1, rows, width, inputs, table, other, bias: place.bias ?? -1 };
      for (const [name, value] of Object.entries(whole)) gl.uniform1i(places[name], value);
      gl.uniform1f(places.period, step.period || 0);
      gl.drawArrays(gl.TRIANGLES, 0, 3);
      [from, to] = [to, from];
    });
    const result = new Float32Array(4 * TILE_WIDTH * rows);
    gl.readPixels(0, 0, TILE_WIDTH, rows, gl.RGBA, gl.FLOAT, result);
    if (gl.isContextLost()) throw new Error("the graphics card was taken away");
    for (let pixel = 0; pixel < end - start; pixel++) {
      for (let c = 0; c < 3; c++) pixels[4 * (start + pixel) + c] = toByte(result[4 * pixel + c]);
      pixels[4 * (start + pixel) + 3] = 255;
    }
  }
}
