// WCAG's contrast of the page's text colours with what they stand on.
() => {
  const channels = (colour) => {
    const canvas = document.createElement("canvas").getContext("2d");
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const linear = (v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4);
  const light = (colour) => {
    const [r, g, b] = channels(colour).map(linear);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const value = (name) => getComputedStyle(document.documentElement).getPropertyValue(name);
  const contrast = ([front, back]) => {
    const [high, low] = [light(value(front)), light(value(back))].sort((a, b) => b - a);
    return (high + 0.05) / (low + 0.05);
  };
  const pairs = [["--text", "--back"], ["--dim", "--back"], ["--accent", "--back"], ["--warn-text", "--warn"], ["--dim", "--panel"]];
  return pairs.map(contrast);
}
